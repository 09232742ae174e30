target "default" {
  context = "./dir/../dir"
  dockerfile-inline = <<-EOT
    FROM scratch
    ENV A=$${B} C=%%{D}
  EOT
  args = { x = "$${y}" , n = 5, b = true, f = 1.50 }
  labels = { "com.example.<a>&b" = "é" }
  secret = []
  ssh = []
  shm-size = "64m"
  ulimits = ["nofile=1024:2048"]
  extra-hosts = { host = "10.0.0.1" }
  entitlements = ["network.host"]
  call = "check"
  pull = true
  no-cache = false
  target = "stage"
  output = [{ type = "oci", dest = "out.tar", compression = "zstd" }, "out-dir", "-"]
  description = "all kinds"
}
