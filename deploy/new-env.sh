#!/bin/sh
# Prints a filled-in .env for docker-compose.yml, every secret freshly drawn.
# Usage: sh deploy/new-env.sh DOMAIN [HOST_IP [PUBLIC_IP]] > .env
set -eu
umask 077
[ $# -ge 1 ] || { echo "Usage: sh deploy/new-env.sh DOMAIN [HOST_IP [PUBLIC_IP]] > .env" >&2; exit 2; }
domain=$1
host_ip=${2:-$(hostname -I 2>/dev/null | cut -d' ' -f1)}
public_ip=${3:-$host_ip}
[ -n "$host_ip" ] || { echo "Give the host's address: sh deploy/new-env.sh $domain HOST_IP" >&2; exit 2; }

random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

while IFS= read -r line; do
    case $line in
    DOMAIN=) echo "DOMAIN=$domain" ;;
    HOST_IP=) echo "HOST_IP=$host_ip" ;;
    PUBLIC_IP=) echo "PUBLIC_IP=$public_ip" ;;
    COMPOSE_PROFILES=) echo "COMPOSE_PROFILES=cpu" ;;
    [A-Z]*=) echo "$line$(random)" ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$(dirname "$0")/../.env.example"
