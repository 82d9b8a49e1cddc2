# Shell functions: the distribution's nginx with TLS on the shipped older libssl3, multi-threaded
# workers, one file to serve. Sourced after tools.sh and fetch.sh; expects $work (a directory of ours).

nginx_libssl=3.0.17-1~deb12u2
nginx_port=${NGINX_PORT:-18443}
nginx_body_bytes=30000

nginx_start() {  # [WORKERS]
  local lib user=
  lib=$(binary_tree libssl3 "$nginx_libssl")/usr/lib/x86_64-linux-gnu || return 1
  mkdir -p "$work/www" "$work/tmp"
  chmod 755 "$work" "$work/www"
  # Workers of root, so that the library may lie below a home directory.
  [ "$(id -u)" -ne 0 ] || user='user root;'
  head -c $nginx_body_bytes /dev/zero | tr '\0' x > "$work/www/f"
  [ -e "$work/cert.pem" ] ||
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 30 \
      -subj /CN=localhost 2>/dev/null
  cat > "$work/nginx.conf" <<CONF
$user worker_processes ${1:-2};
pid $work/nginx.pid;
error_log $work/error.log;
thread_pool default threads=8;
events { worker_connections 512; }
http {
  access_log off; aio threads; sendfile off; keepalive_requests 1000000;
  client_body_temp_path $work/tmp; proxy_temp_path $work/tmp; fastcgi_temp_path $work/tmp;
  uwsgi_temp_path $work/tmp; scgi_temp_path $work/tmp;
  server {
    listen 127.0.0.1:$nginx_port ssl;
    ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
    ssl_session_cache shared:s:1m;
    root $work/www; default_type text/plain;
  }
}
CONF
  LD_LIBRARY_PATH=$lib nginx -p "$work" -c "$work/nginx.conf" -e "$work/error.log" || return 1
  local i
  for i in $(seq 50); do
    [ -s "$work/nginx.pid" ] && nginx_workers=$(pgrep -P "$(cat "$work/nginx.pid")") && break
    sleep 0.1
  done
  [ -n "${nginx_workers:-}" ] || { echo "nginx: no workers: $(tail -n 1 "$work/error.log")" >&2; return 1; }
  local w
  for w in $nginx_workers; do
    grep -q "$lib/libssl.so.3" "/proc/$w/maps" ||
      { echo "nginx: worker $w does not map the shipped libssl3 $nginx_libssl" >&2; return 1; }
  done
}

nginx_stop() {
  local pid i
  pid=$(cat "$work/nginx.pid" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null
  for i in $(seq 50); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
}

# Of a process: address space without the heap, the heap, what is resident (KiB), mappings.
memory_of() {
  local range heap=0
  for range in $(awk '$NF == "[heap]" { print $1 }' "/proc/$1/maps"); do
    heap=$((heap + (16#${range#*-} - 16#${range%-*}) / 1024))
  done
  awk -v heap=$heap '/^VmSize/ { s = $2 } /^VmRSS/ { r = $2 } END { printf "%d %d %d ", s - heap, heap, r }' "/proc/$1/status"
  wc -l < "/proc/$1/maps"
}

# Builds the patchset that the nginx tests use once: libssl's handshake reader (under constant load)
# and three libcrypto fixes. Sets $nginx_patch.
nginx_make_patch() {
  local dir=$1
  nginx_patch=$(ls "$dir"/patches/*.lcpatch 2>/dev/null | head -n 1)
  [ -z "$nginx_patch" ] || return 0
  mkdir -p "$dir"
  local spec n=0 fixes=()
  for spec in \
    "tree:3.0.22-1~deb12u2:ssl/statem/statem_lib.c#grow_init_buf+tls_get_message_body,ssl/statem/statem.c#read_state_machine" \
    "tree:3.0.20-1~deb12u2:crypto/x509/x509_vfy.c#check_delta_base+dane_match" \
    "tree:3.0.20-1~deb12u2:crypto/cms/cms_pwri.c#kek_unwrap_key" \
    "tree:3.0.20-1~deb12u2:crypto/evp/evp_lib.c#evp_cipher_get_asn1_aead_params"; do
    n=$((n + 1))
    "$root/tests/support/take_fix" --package "openssl=$nginx_libssl" --out "$dir/fix$n.patch" "$spec" || return 1
    fixes+=(--fix "$dir/fix$n.patch")
  done
  livecare_build user --package "openssl=$nginx_libssl" "${fixes[@]}" --cve CVE-2026-28388 --cve CVE-2026-28387 \
    --cve CVE-2025-9230 --cve CVE-2026-9076 --cve CVE-2025-15467 --out "$dir/patches" >"$dir/build.log" 2>&1 ||
    { echo "nginx: livecare-build: $(tail -n 3 "$dir/build.log")" >&2; return 1; }
  nginx_patch=$(ls "$dir"/patches/*.lcpatch | head -n 1)
}
