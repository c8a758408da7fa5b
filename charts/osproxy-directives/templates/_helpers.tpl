{{/* Name of the chart, for labels. */}}
{{- define "osproxy-directives.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the namespaced resources: the release's, unless it does not say what it is. */}}
{{- define "osproxy-directives.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "osproxy-directives.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where the namespaced resources are. */}}
{{- define "osproxy-directives.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* Name of the cluster-scoped resources: with the namespace, so that two releases of one name can live in one cluster. */}}
{{- define "osproxy-directives.clusterName" -}}
{{- printf "%s:%s" (include "osproxy-directives.namespace" .) (include "osproxy-directives.fullname" .) -}}
{{- end -}}

{{/* The same where a colon is not allowed. */}}
{{- define "osproxy-directives.clusterDnsName" -}}
{{- printf "%s.%s" (include "osproxy-directives.fullname" .) (include "osproxy-directives.namespace" .) -}}
{{- end -}}

{{- define "osproxy-directives.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "osproxy-directives.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.create is false, so serviceAccount.name has to name a ServiceAccount that exists" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "osproxy-directives.selectorLabels" -}}
app.kubernetes.io/name: {{ include "osproxy-directives.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* By its name nothing takes the Pod of `helm test` for the operator. */}}
{{- define "osproxy-directives.testName" -}}
{{- printf "%s-test" (include "osproxy-directives.name" . | trunc 58 | trimSuffix "-") -}}
{{- end -}}

{{- define "osproxy-directives.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "osproxy-directives.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Labels and annotations of a resource: `labels:` and, where there are any, `annotations:`. Own ones as dicts
under "labels" and "annotations"; they win over those of the whole release.
*/}}
{{- define "osproxy-directives.metadata" -}}
labels:
  {{- merge (dict) (.labels | default dict) (include "osproxy-directives.labels" .context | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .context.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "osproxy-directives.image" -}}
{{- $global := .Values.global | default dict -}}
{{- $registry := default .Values.image.registry $global.imageRegistry -}}
{{- if $registry -}}{{ $registry }}/{{- end -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* A value as text: empty where it is not set, also by null, and never empty for 0. */}}
{{- define "osproxy-directives.text" -}}
{{- if not (kindIs "invalid" .) -}}{{ . }}{{- end -}}
{{- end -}}

{{/* What the operator does with the API server, wherever it is allowed to. */}}
{{- define "osproxy-directives.namespacedRules" -}}
# Observe.
- apiGroups: [osproxy.io]
  resources: [diagnosticsdirectives]
  verbs: [list, watch]
# Report: status by server-side apply.
- apiGroups: [osproxy.io]
  resources: [diagnosticsdirectives/status]
  verbs: [patch]
{{ include "osproxy-directives.eventRule" . }}
{{- end -}}

{{- define "osproxy-directives.eventRule" -}}
# Report: events; a patch makes a series of repeated ones.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
