target "_common" {
  args = { A = "1", B = "2" }
  labels = { team = "x" }
  annotations = ["index:a=b"]
  cache-from = ["type=registry,ref=example.com/cache", "example.com/other"]
  cache-to = ["type=inline"]
  no-cache-filter = ["one"]
}
target "_release" {
  inherits = ["_common"]
  platforms = ["linux/amd64", "linux/arm64"]
  attest = ["type=provenance,mode=max", "type=sbom"]
  output = ["type=registry"]
}
target "app" {
  inherits = ["_common", "_release"]
  args = { B = "3", C = null }
  tags = ["app"]
  no-cache-filter = ["two"]
  cache-to = [{ type = "local", dest = "cache", mode = "max" }]
}
target "app" {
  args = { D = "4" }
  tags = ["app:second"]
  network = "host"
}
group "default" { targets = ["all"] }
group "all" { targets = ["app", "_release"] }
