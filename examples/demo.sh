#!/usr/bin/env bash
# The main job, from nothing: a base image, a build with apt-get and pip, a run, a rebuild that reuses everything,
# a one-line edit, the history. Run it with `make demo`, which installs what it needs first.
set -euo pipefail
cd "$(dirname "$0")"

boxwright=${BOXWRIGHT:-boxwright}
base=debian:bookworm-slim
image=hello-python

bold='' cyan='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\033[1m' cyan=$'\033[36m' plain=$'\033[0m'; fi
say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
typed() { printf '%s$ boxwright %s%s\n' "$cyan" "$*" "$plain"; }
show() { typed "$@"; "$boxwright" "$@"; }
seconds() { date +%s.%N; }

work=$(mktemp -d)
trap 'rm -rf "$work" "$work.tar"' EXIT
cp -r hello-python/. "$work"

say "A base image: $base"
if "$boxwright" image inspect "$base" >/dev/null 2>&1; then
    echo "It is in the store already."
elif "$boxwright" pull "$base"; then
    :
else
    echo "Docker Hub did not answer, so Debian is made here, from the distribution's own archive (about 30 s)."
    mmdebstrap --variant=minbase --quiet bookworm "$work/base.tar"
    mv "$work/base.tar" "$work.tar"
    typed "import -c 'CMD [\"bash\"]' base.tar $base"
    "$boxwright" import -c 'CMD ["bash"]' "$work.tar" "$base"
    rm -f "$work.tar"
fi

say "Build examples/hello-python (the first time: apt-get and pip really run)"
show build -t "$image" "$work"

say "Run it"
show run --rm "$image"

say "Build it again: every step is reused"
before=$(seconds)
show build -t "$image" "$work"
after=$(seconds)
awk -v a="$before" -v b="$after" 'BEGIN { printf "The whole rebuild took %.2f s.\n", b - a }'

say "Edit one file (app.py): only what depends on it runs again, and --explain says why"
sed -i 's/GREETING = "Hello"/GREETING = "Good morning"/' "$work/app.py"
show build --explain -t "$image" "$work"
show run --rm "$image"

say "What it is made of"
show images
show history "$image"

user=${SUDO_USER:-}
sudo=$([ -z "$user" ] || echo "sudo ")
if [ "$(command -v boxwright)" != "$boxwright" ] && [[ $boxwright == /* ]]; then
    path="
Put it on the PATH (of root too, whose PATH under sudo is another):

    ${sudo}ln -s $boxwright /usr/local/bin/boxwright
"
fi

cat <<END

Done. All of it is in root's store.
${path:-}
What you can type next:

    ${sudo}boxwright run -it --rm $image bash          # look around inside
    ${sudo}boxwright build -t $image examples/hello-python
    ${sudo}boxwright save $image >hello.tar            # docker load -i hello.tar takes it
    ${sudo}boxwright system df                         # where the space went
    ${sudo}boxwright rmi $image                        # and away
    boxwright --help

    source <(boxwright completion bash)         # complete commands and names
END
