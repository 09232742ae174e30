variable "X" { default = "x" }
target "default" {
  dockerfile-inline = <<EOT
FROM ${X}
%{ for p in ["a", "b"] ~}
RUN ${p}
%{ endfor ~}
EOT
  args = { nested = "${"${"${X}"}"}-%{ if X == "x" }yes%{ else }no%{ endif }" }
}
