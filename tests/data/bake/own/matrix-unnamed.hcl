target "default" {
  name   = "pan-${size}"
  matrix = { size = [for n in range(1, 4) : "n${n * 10}"] }
  inherits = ["_pan"]
  args   = { SIZE = size }
}
target "_pan" {
  args = { METAL = "copper", SIZE = "none" }
}
