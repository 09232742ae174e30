"""The registry client: names to hosts (hosts, dialects), bytes over HTTP (http, session), accounts (auth, credentials),
and one repository as both ends of a copy (remote, download, upload). Images are moved by the package `transfer`."""
