group "default" { targets = ["leaf", "twig"] }
target "root" {
  args      = { A = "root", B = "root", C = "root" }
  platforms = ["linux/arm/v7"]
  tags      = ["tree:root"]
  labels    = { from = "root" }
  network   = "none"
}
target "stem" {
  inherits  = ["root"]
  args      = { B = "stem" }
  platforms = ["linux/amd64"]
  target    = "stem"
  secret    = ["id=sap,src=parents.hcl"]
}
target "vine" {
  args       = { C = "vine", D = "vine" }
  context    = "vine"
  dockerfile = "Vine"
  tags       = ["tree:vine"]
  secret     = ["id=dew,env=DEW"]
  no-cache   = true
}
target "leaf" {
  inherits = ["stem", "vine"]
  args     = { D = "leaf" }
}
target "twig" {
  inherits   = ["vine", "stem"]
  dockerfile = "Twig"
  labels     = { from = "twig", size = "thin" }
}
