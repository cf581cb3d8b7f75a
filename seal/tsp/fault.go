package tsp

import (
	"errors"
	"fmt"

	"yizheng/seal/reach"
)

// errNotResponse is for an answer that is not even of a response's outer form.
var errNotResponse = fmt.Errorf("%w: not a time stamp response", ErrFormat)

// refusal is an authority's answer without a token (RFC 3161, 2.4.2).
type refusal struct{ status int64 }

func (r *refusal) Error() string {
	return fmt.Sprintf("the authority refused with status %d (RFC 3161, 2.4.2)", r.status)
}

// Text says in Chinese and in English why Stamp gave no token, and what to do.
func Text(err error) (zh, en string) {
	var call *reach.Fault
	var refused *refusal
	switch {
	case errors.As(err, &call):
		zh, en = call.Text()
		return "未取得时间戳，时间戳服务：" + zh, "no time stamp: " + en
	case errors.Is(err, errDown):
		return "未取得时间戳：时间戳服务刚才连接不上，稍后自动重试；请检查其地址与网络", "no time stamp: the authority could not be reached a moment ago and is tried again soon; check its address and the network"
	case errors.As(err, &refused):
		return fmt.Sprintf("未取得时间戳：时间戳服务拒绝签发，状态 %d；请核对策略与权限，并联系其运营单位", refused.status),
			fmt.Sprintf("no time stamp: the authority refused with status %d; check policy and rights, and ask who runs it", refused.status)
	case errors.Is(err, errNotResponse):
		return "未取得时间戳：该地址的答复不是时间戳答复；请核对时间戳服务的地址", "no time stamp: what answers there is no time stamp authority; check its address"
	case errors.Is(err, ErrFormat), errors.Is(err, ErrImprint):
		return "未取得时间戳：时间戳服务的答复有误，不予采信；请联系其运营单位", "no time stamp: the authority's answer is faulty and not believed; ask who runs it"
	}
	return "未取得时间戳：时间戳不可信或不可用；请核对信任目录与时间戳服务", "no time stamp: it is not to be trusted, or not to be had; check the trust directory and the authority"
}
