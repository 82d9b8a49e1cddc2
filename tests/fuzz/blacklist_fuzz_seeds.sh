# Blacklists to start from; $1 is the directory that gets them.
printf '/usr/sbin/mysqld\n# ours\npath:/usr/sbin/mysqld\nfilename:qemu-*\n' > "$1/plain"
printf '/opt/a/run\nregex:^/opt/(a|b)/\nregex:[[:alpha:]]+x{1,3}$\n' > "$1/regex"
printf '/a\npath:/[a-z]*?\nnonsense\n' > "$1/bad"
