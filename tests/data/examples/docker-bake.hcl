group "default" {
  targets = ["app", "docs"]
}
target "app" {
  dockerfile = "platforms"
  platforms  = ["linux/amd64", "linux/arm64"]
  output     = ["type=local,dest=out/app"]
}
target "docs" {
  dockerfile = "parents-deep"
  output     = ["type=local,dest=out/docs"]
}
