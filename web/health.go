package web

import (
	"context"
	"net/http"
	"time"

	"yizheng/web/health"
)

// healthRoutes tell how the gateway is. They are not recorded: what they show is
// nothing but the state of machines, and they have to answer when nothing can be
// recorded. A probe every few seconds would bury in the log what people did. Who
// knocks without the right to is recorded, as everywhere.
func (s *Server) healthRoutes() []route {
	const get, quick = http.MethodGet, 10 * time.Second
	return []route{
		{get, "/v1/health", anyone, nothing, "", 0, quick, s.ready},
		{get, "/v1/admin/health", monitor, nothing, "", 0, quick, s.showHealth},
		{get, "/metrics", monitor, nothing, "", 0, quick, s.showMetrics},
	}
}

// ready says yes or no to a probe. Strangers learn nothing else: not even that
// would be needed to find out, since a public call fails as well.
func (s *Server) ready(ctx context.Context, _ *request) (reply, error) {
	if !s.health.Report(ctx).Ready {
		return reply{}, newProblem(http.StatusServiceUnavailable, "NOT_READY", "", "网关暂不能办理业务，请改用其他网关或稍后重试；管理员见 gateway health -cert", "the gateway takes no business now; use another one or try again later. Administrators: gateway health -cert")
	}
	return jsonReply(http.StatusOK, map[string]bool{"ready": true})
}

func (s *Server) showHealth(ctx context.Context, _ *request) (reply, error) {
	return jsonReply(http.StatusOK, s.health.Report(ctx))
}

func (s *Server) showMetrics(context.Context, *request) (reply, error) {
	text, err := s.metrics.Text()
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, contentType: health.ContentType, body: text}, nil
}
