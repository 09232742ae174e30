group "default" { targets = ["sail", "mast"] }
target "keel" {
  context    = "yard/keel"
  dockerfile = "Keel.dockerfile"
  args       = { OAK = "12", PINE = "4" }
  labels     = { part = "keel" }
  tags       = ["yard/keel:9"]
}
target "mast" {
  context    = target.keel.context
  dockerfile = replace(target.keel.dockerfile, "Keel", "Mast")
  args       = merge(target.keel.args, { PINE = target.keel.args.PINE * 2 })
  labels     = { part = "mast", on = target.keel.labels.part }
  contexts   = { keel = "target:keel", src = "../src" }
}
target "sail" {
  inherits = ["mast"]
  tags     = [for t in target.keel.tags : replace(t, "keel", "sail")]
  args     = { HEIGHT = target.mast.args["OAK"], OF = target.mast.name }
  contexts = { mast = "target:mast" }
}
