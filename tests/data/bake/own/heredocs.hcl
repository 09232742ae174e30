function "script" {
  params = [name]
  result = <<-END
    #!/bin/sh
      exec ${name} "$@"

    # ${upper(name)}
  END
}
target "default" {
  args = {
    run   = script("ferry")
    lines = join("|", split("\n", <<LIST
oar
  rudder
LIST
    ))
    kept = <<-TIDE
      high
    	low
        slack
    TIDE
    percent = <<TIDE
100% $5 %%{x} $${y}
TIDE
  }
}
