{{/*
What is rendered only where it can be. "true" where the API is there, or is not asked about; nothing where it is to be
skipped; a failure where it has to be there. A dict: context, value (the path of the values that ask for it), mode, api, kind.
*/}}
{{- define "osproxy-directives.monitoring.renders" -}}
{{- $has := or (.context.Capabilities.APIVersions.Has .api) (.context.Capabilities.APIVersions.Has (printf "%s/%s" .api .kind)) -}}
{{- if or $has (eq .mode "alwaysRender") -}}
true
{{- else if eq .mode "failIfMissing" -}}
{{- fail (printf "%s.enabled is true, and this cluster does not have %s %s, or it is not shown to Helm. Install its CRD first; without a cluster, say `--api-versions %s/%s`; or set %s.renderMode to skipIfMissing or alwaysRender" .value .api .kind .api .kind .value) -}}
{{- end -}}
{{- end -}}

{{/* Each object of this kind that the values ask for, as JSON: value, enabled, mode, api, kind. */}}
{{- define "osproxy-directives.monitoring.objects" -}}
{{- $metrics := .Values.metrics -}}
{{- $coreos := "monitoring.coreos.com/v1" -}}
{{- $operator := .Values.grafanaDashboard.grafanaOperator -}}
{{- list
  (dict "value" "metrics.serviceMonitor" "enabled" $metrics.serviceMonitor.enabled "mode" $metrics.serviceMonitor.renderMode "api" $coreos "kind" "ServiceMonitor")
  (dict "value" "metrics.podMonitor" "enabled" $metrics.podMonitor.enabled "mode" $metrics.podMonitor.renderMode "api" $coreos "kind" "PodMonitor")
  (dict "value" "metrics.prometheusRule" "enabled" $metrics.prometheusRule.enabled "mode" $metrics.prometheusRule.renderMode "api" $coreos "kind" "PrometheusRule")
  (dict "value" "grafanaDashboard.grafanaOperator" "enabled" $operator.enabled "mode" $operator.renderMode "api" "grafana.integreatly.org/v1beta1" "kind" "GrafanaDashboard")
| toJson -}}
{{- end -}}

{{/* "true" where the object of .kind is asked for and can be. A dict: context, kind. */}}
{{- define "osproxy-directives.monitoring.wants" -}}
{{- $context := .context -}}
{{- $kind := .kind -}}
{{- range include "osproxy-directives.monitoring.objects" $context | fromJsonArray -}}
{{- if and (eq .kind $kind) .enabled -}}
{{- include "osproxy-directives.monitoring.renders" (dict "context" $context "value" .value "mode" .mode "api" .api "kind" .kind) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* For NOTES: a warning for each object that was asked for and skipped. */}}
{{- define "osproxy-directives.monitoring.notes" -}}
{{- $context := . -}}
{{- range include "osproxy-directives.monitoring.objects" . | fromJsonArray }}
{{- if and .enabled (not (include "osproxy-directives.monitoring.renders" (dict "context" $context "value" .value "mode" .mode "api" .api "kind" .kind))) }}

WARNING: {{ .value }}.enabled is true, but this cluster does not have {{ .api }} {{ .kind }}, so there is none.
Install its CRD and upgrade this release, or set {{ .value }}.renderMode to failIfMissing or alwaysRender.
{{- end }}
{{- end }}
{{- end -}}

{{/* The matchers that find this release's operator, for expressions. */}}
{{- define "osproxy-directives.monitoring.selector" -}}
{{- $fullname := include "osproxy-directives.fullname" . -}}
{{- $namespace := include "osproxy-directives.namespace" . -}}
{{- /* A PodMonitor's job is its namespace and name, a ServiceMonitor's the Service's name. */ -}}
{{- $job := ternary (printf "%s/%s" $namespace $fullname) $fullname .Values.metrics.podMonitor.enabled -}}
{{- .Values.metrics.prometheusRule.selector | default (printf `namespace="%s", job="%s"` $namespace $job) -}}
{{- end -}}

{{/* How both monitors scrape. A dict: the monitor's values. */}}
{{- define "osproxy-directives.monitoring.endpoint" -}}
port: http
path: /metrics
interval: {{ .interval }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Metadata of an object with labels of its own, for those who select by them. A dict: context, labels, annotations. */}}
{{- define "osproxy-directives.monitoring.metadata" -}}
labels:
  {{- merge (dict) .labels (include "osproxy-directives.labels" .context | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) .annotations .context.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
