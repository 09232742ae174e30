variable "BELLS" { default = ["tenor", "treble", "sanctus"] }
target "default" {
  dockerfile-inline = <<-TOWER
    FROM scratch
    %{ for bell in BELLS ~}
    LABEL ${bell}="${strlen(bell)}"
    %{ endfor ~}
    %{ if length(BELLS) > 2 }
    ENV PEAL=yes
    %{ else }
    ENV PEAL=no
    %{ endif }
      ENV DEEPER=$${PEAL}
  TOWER
  args = {
    plain = <<ROPE
    kept as
  it is
ROPE
    joined  = "%{ for i, bell in BELLS }${i}${bell}%{ if i < length(BELLS) - 1 }/%{ endif }%{ endfor }"
    trimmed = "wheel ${~ " clapper " ~} stay"
    escaped = "$${BELLS} %%{ if } \\ \" \t|"
    one     = "${length(BELLS)}"
    deep    = "${upper("${BELLS[0]}-${join("", [for b in BELLS : substr(b, 0, 1)])}")}"
  }
}
