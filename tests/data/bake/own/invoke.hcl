function "shift" {
  params = [letters]
  result = [for l in letters : lookup({ a = "b", b = "c", c = "a" }, l, l)]
}
function "pick" {
  params          = [list, n]
  variadic_params = more
  result          = try(list[n], more[0], "nothing")
}
variable "LETTERS" { default = ["a", "c", "d"] }
target "default" {
  args = {
    once    = join("", shift(LETTERS))
    twice   = join("", shift(shift(LETTERS)))
    there   = pick(LETTERS, 1)
    missing = pick(LETTERS, 9)
    spare   = pick(LETTERS, 9, "z")
    typed   = jsonencode(convert(["1", "2"], list(number)))
    tried   = try(jsondecode("{"), "not JSON")
    can_not = can(jsondecode("{"))
  }
}
