target "default" {
  attest = ["type=provenance,disabled=true", "type=sbom"]
  output = [""]
  tags   = ["", "left:1", "left:1"]
  labels = {}
  args   = {}
}
