{{/*
What a schema cannot say: values that contradict each other. Each check that fails says what is wrong,
and what to type instead. Called once, by the Deployment.
*/}}
{{- define "osproxy-directives.validate" -}}
{{- include "osproxy-directives.validateEtcd" . -}}
{{- include "osproxy-directives.validateArguments" . -}}
{{- include "osproxy-directives.validateLabels" . -}}
{{- include "osproxy-directives.validateDisruptions" . -}}
{{- end -}}

{{- define "osproxy-directives.validateEtcd" -}}
{{- $etcd := .Values.etcd -}}
{{- $tls := $etcd.tls -}}
{{- $auth := $etcd.auth -}}
{{- if not $etcd.endpoints -}}
{{- fail "etcd.endpoints is empty. Name where your etcd listens, for example: --set 'etcd.endpoints={http://etcd-0.etcd:2379}'" -}}
{{- end -}}
{{- if $tls.existingSecret -}}
{{- if not $tls.caKey -}}
{{- fail "etcd.tls.caKey is empty. Name the key of the Secret that holds the authority of etcd's certificate; cert-manager calls it ca.crt." -}}
{{- end -}}
{{- if ne (empty $tls.certKey) (empty $tls.keyKey) -}}
{{- fail "etcd.tls.certKey and etcd.tls.keyKey belong together. Set both, or empty both to show etcd no client certificate." -}}
{{- end -}}
{{- else if $tls.serverName -}}
{{- fail "etcd.tls.serverName is set, but nothing is checked against it without TLS. Set etcd.tls.existingSecret too, or leave etcd.tls.serverName out." -}}
{{- end -}}
{{- if $auth.existingSecret -}}
{{- if or (not $auth.usernameKey) (not $auth.passwordKey) -}}
{{- fail "etcd.auth.usernameKey and etcd.auth.passwordKey name keys of the Secret etcd.auth.existingSecret. Set both." -}}
{{- end -}}
{{- end -}}
{{- /* Files that come by extraVolumes are as good: a CSI driver's, for example. */ -}}
{{- $authority := or $tls.existingSecret (include "osproxy-directives.givesAuthority" .) -}}
{{- range $etcd.endpoints -}}
{{- $plain := or (hasPrefix "http://" .) (and (not (contains "://" .)) (not $authority)) -}}
{{- if and (hasPrefix "https://" .) (not $authority) -}}
{{- fail (printf "etcd.endpoints has %s, and etcd.tls.existingSecret is empty. Name a Secret with the authority of etcd's certificate in its key %s; one that cert-manager made will do." . $tls.caKey) -}}
{{- end -}}
{{- if and (hasPrefix "http://" .) $tls.existingSecret -}}
{{- fail (printf "etcd.endpoints has %s, and etcd.tls.existingSecret is set. Write https:// in front of every endpoint, or leave etcd.tls out." .) -}}
{{- end -}}
{{- if and $plain $auth.existingSecret (not $auth.allowInsecure) -}}
{{- fail (printf "etcd.auth would send its password to %s unencrypted. Use https:// endpoints and etcd.tls.existingSecret; where something else encrypts the way to etcd, set etcd.auth.allowInsecure=true." .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Not empty where a person names the authority's file by hand. */}}
{{- define "osproxy-directives.givesAuthority" -}}
{{- range .Values.extraArgs -}}
{{- if hasPrefix "--etcd-ca-file" . -}}yes{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if eq .name "OSPROXY_ETCD_CA_FILE" -}}yes{{- end -}}
{{- end -}}
{{- end -}}

{{/* The operator takes each flag once, and would not start. */}}
{{- define "osproxy-directives.validateArguments" -}}
{{- $own := dict
  "--etcd-endpoints" "etcd.endpoints"
  "--etcd-directives-key" "etcd.directivesKey"
  "--release" "the release's name and namespace"
  "--listen" "httpPort"
  "--log-level" "log.level"
  "--log-format" "log.format"
-}}
{{- if .Values.watch.namespaces -}}
{{- $_ := set $own "--watch-namespaces" "watch.namespaces" -}}
{{- end -}}
{{- if .Values.etcd.tls.existingSecret -}}
{{- range tuple "--etcd-ca-file" "--etcd-cert-file" "--etcd-key-file" "--etcd-server-name" -}}
{{- $_ := set $own . "etcd.tls" -}}
{{- end -}}
{{- end -}}
{{- if .Values.etcd.auth.existingSecret -}}
{{- range tuple "--etcd-user" "--etcd-password-file" "--etcd-allow-insecure-credentials" -}}
{{- $_ := set $own . "etcd.auth" -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- $flag := first (splitList "=" .) -}}
{{- with get $own $flag -}}
{{- fail (printf "extraArgs has %s, which the chart sets from %s. Change it there; the operator takes a flag once." $flag .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "osproxy-directives.validateLabels" -}}
{{- $root := . -}}
{{- $selector := include "osproxy-directives.selectorLabels" . | fromYaml -}}
{{- range tuple "commonLabels" "podLabels" -}}
{{- $from := . -}}
{{- range $label, $_ := get $root.Values $from -}}
{{- if hasKey $selector $label -}}
{{- fail (printf "%s sets %s. The Deployment finds its Pods by that label, so it is not to be changed; use nameOverride for another name." $from $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "osproxy-directives.validateDisruptions" -}}
{{- with .Values.podDisruptionBudget -}}
{{- $least := include "osproxy-directives.text" .minAvailable -}}
{{- $most := include "osproxy-directives.text" .maxUnavailable -}}
{{- if .enabled -}}
{{- if and $least $most -}}
{{- fail "podDisruptionBudget takes minAvailable or maxUnavailable, not both. Leave one of them empty." -}}
{{- end -}}
{{- $all := printf "%d" (int $.Values.replicaCount) -}}
{{- if or (eq $least "100%") (and $least (not (hasSuffix "%" $least)) (ge (int $least) (int $all)) (gt (int $all) 0)) -}}
{{- fail (printf "podDisruptionBudget.minAvailable is %s of %s replicas, so that no node with one of them could ever be drained. Use a smaller one, or maxUnavailable: 1." $least $all) -}}
{{- end -}}
{{- if or (eq $most "0") (eq $most "0%") -}}
{{- fail (printf "podDisruptionBudget.maxUnavailable is %s, so that no node with a replica could ever be drained. Use 1." $most) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
