variable "CHANNEL" { default = "nightly" }
variable "SIGNED" { default = false }
stable = CHANNEL == "stable"
target "default" {
  dockerfile = stable ? "Dockerfile" : "Dockerfile.${CHANNEL}"
  platforms  = stable ? ["linux/amd64", "linux/arm64"] : ["linux/amd64"]
  tags       = [stable ? "gate:latest" : "gate:${CHANNEL}", SIGNED ? "gate:signed" : ""]
  args = {
    LEVEL  = stable ? 2 : CHANNEL == "nightly" ? 1 : 0
    SIGNER = SIGNED ? "smith" : null
    BOTH   = "${!stable && !SIGNED}"
    MIXED  = true ? "7" : 7
  }
  labels = { channel = notequal("stable", CHANNEL) ? "moving" : "fixed" }
  pull   = !stable
}
