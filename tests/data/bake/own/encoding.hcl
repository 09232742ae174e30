settings = jsondecode("{\"port\": 8081, \"hosts\": [\"left\", \"right\"], \"tls\": false, \"note\": null}")
rows = csvdecode("name,weight\nanvil,90\nfeather,0.1\n")
target "default" {
  args = {
    port    = settings.port
    hosts   = join("+", settings.hosts)
    tls     = settings.tls
    note    = settings.note == null ? "no note" : "a note"
    again   = jsonencode(settings)
    heavy   = join(",", [for row in rows : row.name if row.weight > 1])
    base    = base64encode("anvil & feather")
    plain   = base64decode("ZmVhdGhlcg==")
    asked   = urlencode("weight=90 kg&of=anvil/é")
    sums    = join(" ", [md5("anvil"), sha1("anvil")])
    long    = sha256("anvil")
    longer  = sha512("anvil")
    id      = uuidv5("url", "https://forge.example/anvil")
    later   = timeadd("2031-04-30T23:30:00Z", "45m")
    written = formatdate("D MMMM YYYY, HH:mm AA", "2031-04-30T23:30:00Z")
    net     = join(" ", cidrsubnets("10.40.0.0/14", 2, 6, 6))
    host    = cidrhost("192.168.77.0/24", 9)
    mask    = cidrnetmask("10.40.0.0/14")
  }
}
