#!/usr/bin/env bash
# A federated-learning client of bash, curl and grep: it hands in a file that somebody else trained.
#
#     client.sh http://127.0.0.1:8000 update.safetensors NAME [SAMPLES] [ACCURACY]
#
# It shows what goes over the wire, and stands in for a participant where a server is tried out.
# Put your own training where the file is sent, whatever program that is. It asks for its work
# and ends with the training. Started again it is the same user, by the token that it keeps.
set -euo pipefail

server=${1%/} update=$2 name=$3 samples=${4:-100} accuracy=${5:-0.5}
token=$(dirname "$update")/$name@${server//[:\/]/_}.token

# Ask the server; it says what it refuses. The token goes by a file, for others see arguments.
ask() { curl --silent --show-error --fail-with-body --retry 6 --retry-connrefused "$@"; }
as_user() { ask --header "@$token" "$@"; }

# Print the first value that a key has in JSON, which is enough for the answers that are read here.
first() { grep -o "\"$1\": *[^,}]*" | tr -d '" ' | sed -n '1 s/.*://p'; }

if [ ! -s "$token" ]; then
    user=$(head -c 24 /dev/urandom | base64 | ask "$server/api/users/" --data client=true \
        --data-urlencode "username=$name" --data-urlencode password@-) || { echo "$user"; exit 1; }
    (umask 077 && echo "Authorization: Token $(first token <<<"$user")" >"$token")
fi

kind=
until [ "$kind" = TRAINING_FINISHED ] || [ "$kind" = CLIENT_REMOVED ]; do
    items=$(as_user "$server/api/notifications/?wait=25")
    if [ "$items" = "[]" ]; then sleep 1 && continue; fi
    kind=$(first notification_type <<<"$items") # of the oldest, the others come again
    id=$(first id <<<"$items")
    model=$server/api/models/$(first global_model_uuid <<<"$items")/
    echo "$kind"
    case $kind in
        UPDATE_ROUND_START)
            round=$(first round <<<"$items")
            as_user "$model?round=$round&sample_size=$samples" --data-binary "@$update" \
                --header "Content-Type: application/octet-stream" || echo " refused"
            ;;
        MODEL_TEST_ROUND)
            as_user "${model}metrics/" --data "metric_names=accuracy&metric_values=$accuracy" ||
                echo " refused"
            ;;
    esac
    as_user "$server/api/notifications/$id/ack/" --request POST
done
