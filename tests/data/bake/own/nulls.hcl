variable "MIRROR" { default = null }
variable "PROXY" {}
target "default" {
  dockerfile = null
  target     = MIRROR
  args = {
    MIRROR = MIRROR
    PROXY  = PROXY
    CHOSEN = MIRROR != null ? MIRROR : "origin.example"
    FIRST  = coalesce(MIRROR, "spare.example")
    SHAPE  = jsonencode([null, { a = null }])
    EMPTY  = PROXY == "" ? "empty" : PROXY == null ? "null" : "set"
  }
  labels = { kept = "yes", dropped = null }
}
