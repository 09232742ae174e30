target "base" {
  args = { V = "1" }
  tags = ["base:${target.base.args.V}"]
  platforms = ["linux/amd64"]
  output = ["type=local,dest=out"]
}
target "app" {
  args = target.base.args
  tags = [for t in target.base.tags: replace(t, "base", "app")]
  contexts = { base = "target:${target.base.name}" }
  platforms = target.base.platforms
  labels = { d = target.base.dockerfile == null ? "none" : "some", o = target.base.output[0].dest }
}
group "default" { targets = [for n in ["app", "base"]: n] }
