group "default" { targets = ["service", "notes"] }

target "service" {
  dockerfile = "platforms"
  output     = ["type=local,dest=out/service"]
  platforms  = ["linux/arm64", "linux/amd64"]
}

target "notes" {
  dockerfile = "parents-deep"
  output     = ["type=local,dest=out/notes"]
}
