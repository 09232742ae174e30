variable "VERSIONS" { default = ["3.11", "3.12"] }
group "default" { targets = ["app"] }
target "app" {
  name = "app-${replace(v, ".", "-")}"
  matrix = { v = VERSIONS }
  args = { PYTHON = v }
  tags = ["example.com/app:${v}", equal(v, "3.12") ? "example.com/app:latest" : ""]
}
target "docs" {
  contexts = { app = "target:app-3-12" }
  platforms = ["linux/amd64", "linux/arm64"]
}
