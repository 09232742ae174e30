target "default" {
  attest     = [{ type = "provenance", mode = "max" }, { type = "sbom" }]
  cache-from = [{ type = "registry", ref = "quarry.example/cache" }, { type = "gha", scope = "pit" }]
  cache-to   = [{ type = "registry", ref = "quarry.example/cache", mode = "max" }, { type = "inline" }]
  output     = [{ type = "tar", dest = "works.tar" }, { type = "cacheonly" }]
  secret     = [{ id = "key", src = "every-key-objects.hcl" }, { id = "word", env = "WORD" }]
  ssh        = [{ id = "default" }, { id = "depot" }]
}
