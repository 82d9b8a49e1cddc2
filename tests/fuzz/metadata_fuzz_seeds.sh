# Update metadata to start from, one of each kind; $1 is the directory that gets it.
common='"spec_version":"1.0.33","version":1,"expires":"2030-01-01T00:00:00Z"'
key='{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"}}'
role='{"keyids":["aa"],"threshold":1}'
signatures='"signatures":[{"keyid":"aa","sig":"00ff"}]'
printf '{"signed":{"_type":"root",%s,"consistent_snapshot":true,"keys":{"aa":%s},"roles":{"root":%s,"timestamp":%s,"snapshot":%s,"targets":%s}},%s}' \
  "$common" "$key" "$role" "$role" "$role" "$role" "$signatures" > "$1/root"
printf '{"signed":{"_type":"timestamp",%s,"meta":{"snapshot.json":{"version":1,"length":7,"hashes":{"sha256":"00"}}}},%s}' \
  "$common" "$signatures" > "$1/timestamp"
printf '{"signed":{"_type":"snapshot",%s,"meta":{"targets.json":{"version":1},"a.json":{"version":2}}},%s}' \
  "$common" "$signatures" > "$1/snapshot"
printf '{"signed":{"_type":"targets",%s,"targets":{"a/b":{"length":1,"hashes":{"sha512":"00"},"custom":{"x":null}}},"delegations":{"keys":{"aa":%s},"roles":[{"name":"r","keyids":["aa"],"threshold":1,"terminating":true,"paths":["a/*","[a-z]?"]},{"name":"h","keyids":[],"threshold":1,"path_hash_prefixes":["0","f0"]}]}},%s}' \
  "$common" "$key" "$signatures" > "$1/targets"
printf '{"signed":{"_type":"targets",%s,"targets":{},"delegations":{"keys":{},"succinct_roles":{"keyids":["aa"],"threshold":1,"bit_length":8,"name_prefix":"bin"}}},%s}' \
  "$common" "$signatures" > "$1/succinct"
