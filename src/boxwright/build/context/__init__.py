"""Where COPY and ADD read from: a directory, an archive, a layer, all as one tree of files."""
