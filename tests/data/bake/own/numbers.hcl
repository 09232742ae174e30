variable "CRATES" { default = 17 }
target "default" {
  args = {
    whole     = floor(CRATES / 4)
    up        = ceil(CRATES / 4)
    left      = CRATES % 4
    third     = format("%.4f", CRATES / 3)
    squared   = pow(CRATES, 2)
    most      = max(CRATES, 9, 30)
    least     = min(CRATES, 9, 30)
    sign      = signum(CRATES - 40)
    distance  = absolute(CRATES - 40)
    bits      = parseint("10001", 2)
    hex       = parseint("2bad", 16)
    whole_of  = int(9.99)
    logs      = log(1024, 2)
    precise   = 0.75 - 0.25
    large     = 65536 * 65536 * 65536
    negative  = -CRATES
    compared  = "${CRATES > 16 && CRATES <= 17}"
    by_name   = multiply(add(CRATES, 1), subtract(5, divide(6, 3)))
    in_order  = (1 + 2) * 3 - 4 / 8
    fraction  = 5e-3
  }
}
