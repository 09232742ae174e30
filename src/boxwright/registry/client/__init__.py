"""The registry client: names to hosts (hosts, dialects), bytes over HTTP (http, session), who we are (auth,
credentials), and an image's way from and to a registry (remote, download, upload, transfer, search)."""
