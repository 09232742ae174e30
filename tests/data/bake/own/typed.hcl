variable "S" { type = string }
variable "N" {
  type = number
  default = "5"
}
variable "L" {
  type = list(string)
  default = ["a", "b"]
}
variable "M" {
  type = map(number)
  default = { a = 1 }
}
variable "O" {
  type = object({ name = string, size = optional(number) })
  default = { name = "x" }
}
variable "T" {
  type = tuple([string, number])
  default = ["a", 1]
}
variable "V" {
  default = "ok"
  validation {
    condition = V != ""
    error_message = "V is needed"
  }
}
target "default" {
  args = {
    s = jsonencode(S), n = N + 1, l = join(",", L), m = jsonencode(M), o = jsonencode(O), t = jsonencode(T), v = V
    cmd = BAKE_CMD_CONTEXT
    p = BAKE_LOCAL_PLATFORM
  }
}
