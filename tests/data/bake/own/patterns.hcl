release = "kiln-3.14.2-beta.6"
target "default" {
  tags = ["kiln:${regex_replace(release, "^kiln-(\\d+)\\.(\\d+).*$", "$1.$2")}"]
  args = {
    numbers  = jsonencode(regexall("\\d+", release))
    parts    = jsonencode(regex("^(\\w+)-(\\d+)\\.(\\d+)", release))
    named    = jsonencode(regex("-(?P<stage>[a-z]+)\\.(?P<turn>\\d+)$", release))
    stage    = regex("-(?P<stage>[a-z]+)\\.(?P<turn>\\d+)$", release).stage
    none     = jsonencode(regexall("glaze", release))
    dashed   = regex_replace("clay, sand;  grog", "[,;]\\s*", "-")
    doubled  = regex_replace("fire", "(.)", "$1$1")
    folded   = regex_replace("KILN Kiln kiln", "(?i)kiln", "oven")
    maybe    = try(regex("glaze", release), "unglazed")
    is_beta  = can(regex("beta", release))
    is_alpha = can(regex("alpha", release))
  }
}
