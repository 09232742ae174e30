target "default" {
  description       = "everything that can be said"
  context           = "works"
  contexts          = { stone = "docker-image://quarry.example/stone:2", sand = "../sand", plan = "https://plans.example/site.git" }
  dockerfile        = "Works.dockerfile"
  target            = "finished"
  args              = { DEPTH = 12, DRY = true, NAME = "pit" }
  annotations       = ["org.example.site=north", "manifest:org.example.crew=4"]
  attest            = ["type=provenance,mode=min", "type=sbom,generator=quarry.example/scan"]
  cache-from        = ["quarry.example/cache:main", "type=local,src=old"]
  cache-to          = ["type=local,dest=new,mode=max"]
  entitlements      = ["network.host", "security.insecure"]
  extra-hosts       = { office = "10.9.8.7", depot = "10.9.8.6" }
  labels            = { "org.example.owner" = "crew", "org.example.shift" = "late" }
  network           = "host"
  no-cache          = true
  no-cache-filter   = ["dig", "haul"]
  output            = ["type=local,dest=out/works", "type=image,push=false"]
  platforms         = ["linux/amd64", "linux/riscv64"]
  pull              = true
  secret            = ["id=key,src=every-key.hcl", "id=word,env=WORD"]
  shm-size          = "256m"
  ssh               = ["default", "depot"]
  tags              = ["quarry.example/works:1", "quarry.example/works"]
  ulimits           = ["nofile=2048:4096", "nproc=64"]
  call              = "outline"
}
