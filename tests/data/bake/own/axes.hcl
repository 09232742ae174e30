group "default" { targets = ["bake-bread", "shop"] }
target "bake-bread" {
  name = "bread-${flour}-${replace(oven.name, "_", "-")}"
  matrix = {
    flour = ["rye", "spelt"]
    oven = [
      { name = "stone", hot = 280 },
      { name = "fan_small", hot = 220 },
    ]
  }
  args       = { FLOUR = flour, HEAT = oven.hot - (flour == "rye" ? 20 : 0) }
  target     = oven.name
  tags       = ["bread:${flour}-${oven.name}"]
  dockerfile = "${flour}.dockerfile"
}
target "shop" {
  contexts = { loaf = "target:bread-rye-stone" }
}
