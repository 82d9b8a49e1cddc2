# Sourced by guests that run the agent (with busybox, in /share): it comes with its own libraries.
cd /share || exit 1
failed=0
check() { # TEXT COMMAND...
  text=$1
  shift
  if "$@"; then
    echo "ok: $text"
  else
    echo "FAILED: $text"
    cat /tmp/last
    failed=1
  fi
}
# A file of /proc has no size that test -s could ask for.
no_patches() { ! grep -q . /proc/kcare/patches; }
run() { # PROGRAM ARGUMENT...
  program=$1
  shift
  ./lib/ld-linux-x86-64.so.2 --library-path /share/lib "/share/$program" "$@"
}
exits() { # CODE ARGUMENT...: of kcarectl
  code=$1
  shift
  run kcarectl "$@" > /tmp/last 2>&1
  [ $? -eq "$code" ]
}
exits_any_of() { # CODES ARGUMENT...
  codes=$1
  shift
  run kcarectl "$@" > /tmp/last 2>&1
  code=$?
  for each in $codes; do [ $code -ne "$each" ] || return 0; done
  return 1
}
prints() { # TEXT ARGUMENT...: of kcarectl, exit code 0
  text=$1
  shift
  exits 0 "$@" && grep -q "$text" /tmp/last
}
