boats = [
  { name = "Heron", berths = 4, hull = "wood" },
  { name = "Plover", berths = 2, hull = "steel" },
  { name = "Avocet", berths = 6, hull = "wood" },
]
target "default" {
  args = {
    names    = join(",", [for b in boats : b.name])
    big      = join(",", [for b in boats : b.name if b.berths > 3])
    places   = join(",", [for i, b in boats : "${i + 1}.${lower(b.name)}"])
    berths   = jsonencode({ for b in boats : b.name => b.berths })
    small    = jsonencode({ for b in boats : upper(b.name) => b.berths if b.berths < 5 })
    by_hull  = jsonencode({ for b in boats : b.hull => b.name... })
    flipped  = jsonencode({ for k, v in { bow = "fore", stern = "aft" } : v => k })
    nested   = jsonencode([for b in boats : [for n in range(b.berths) : "${b.name}${n}" if n % 2 == 0]])
    of_map   = join(",", [for k, v in { bow = "fore", stern = "aft" } : "${k}=${v}"])
  }
  labels = { for b in boats : "fleet.${lower(b.name)}" => b.hull }
  tags   = [for b in boats : "fleet:${lower(b.name)}" if b.hull == "wood"]
}
