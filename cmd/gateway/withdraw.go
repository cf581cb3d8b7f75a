package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"yizheng/catalog/beijing"
	"yizheng/exchange"
	"yizheng/identity/jose"
)

// withdrawal is what the gateway says of one (docs/protocol/seal-register.md).
type withdrawal struct {
	Number    string    `json:"number"`
	State     string    `json:"state"` // issued, asked, withdrawn
	Asked     string    `json:"asked"`
	By        string    `json:"by"`
	Reason    string    `json:"reason"`
	Withdrawn time.Time `json:"withdrawn"`
}

// withdraw takes one person's step towards the withdrawal of a document: the first
// asks, another approves. The statement is made and signed here; the key never leaves.
func withdraw(ctx context.Context, args []string, out io.Writer) error {
	f := flags("withdraw", "-url URL [-ca FILE] -cert FILE -cert-key FILE -key FILE -number NO -reason CODE [-reject]",
		"gateway withdraw -url https://localhost:8443 -ca ca.crt -cert admin-security-1.crt -cert-key admin-security-1.key -key security-1.key -number 690100202611220004K7M2XQ9R1 -reason WRONG_DATA")
	address := f.String("url", "https://localhost:8443", "签发该文书的网关 / the gateway that issued the document")
	ca := f.String("ca", "", "网关证书的 CA；不给则用系统的 / CA of the gateway's certificate; the machine's if missing")
	cert := f.String("cert", "", "办理人的 TLS 客户端证书 / TLS client certificate of the person who acts")
	certKey := f.String("cert-key", "", "其私钥 / its private key")
	key := f.String("key", "", "办理人的 SM2 私钥，用来签声明 / the person's SM2 private key, which signs the statement")
	pass := f.String("passphrase", "", "该私钥的口令文件 / file with its passphrase")
	number := f.String("number", "", "文书编号 / certificate number")
	reason := f.String("reason", "", "原因代码；批准者须给出与申请相同的代码 / reason; who approves gives the one that was asked for: "+strings.Join(exchange.WithdrawalReasons(), ", "))
	reject := f.Bool("reject", false, "驳回待批准的申请 / reject the pending request")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *cert == "" || *certKey == "" || *key == "" || *number == "" || *reject == slices.Contains(exchange.WithdrawalReasons(), *reason) {
		f.Usage()
		return errUsage
	}
	person, err := jose.ReadKey(*key, *pass)
	if err != nil {
		return err
	}
	gateway, err := newRemote(*address, *ca, *cert, *certKey)
	if err != nil {
		return err
	}
	path := "/v1/admin/certificates/" + url.PathEscape(*number)
	var w withdrawal
	if err := gateway.call(ctx, http.MethodGet, path+"/withdrawal", nil, &w); err != nil {
		return err
	}
	st, err := w.next(*reason, *reject)
	if err != nil {
		return err
	}
	st.Number, st.At = *number, time.Now()
	statement, err := st.Sign(person)
	if err != nil {
		return err
	}
	w = withdrawal{}
	if err := gateway.call(ctx, http.MethodPost, path+"/withdraw", map[string]string{"statement": statement}, &w); err != nil {
		return err
	}
	w.print(out)
	return nil
}

// next is the step that is due: asking, or deciding about what was asked for. Nobody
// approves by mistake what somebody else wanted for another reason.
func (w withdrawal) next(reason string, reject bool) (exchange.WithdrawalStatement, error) {
	switch {
	case w.State == "withdrawn":
		return exchange.WithdrawalStatement{}, fmt.Errorf("这份文书已于 %s 撤回，不可更改 / withdrawn on that day already, and stays so", w.Withdrawn.In(beijing.Zone()).Format(time.DateTime))
	case w.State == "asked" && reject:
		return exchange.WithdrawalStatement{Action: exchange.WithdrawReject, Of: w.Asked}, nil
	case reject:
		return exchange.WithdrawalStatement{}, errors.New("没有待批准的撤回申请 / no request is pending")
	case w.State == "asked" && reason != w.Reason:
		return exchange.WithdrawalStatement{}, fmt.Errorf("%s 申请撤回的原因是 %s：核对后以 -reason %s 批准，或以 -reject 驳回 / the pending request gives that reason: approve it with the same -reason, or -reject it", w.By, w.Reason, w.Reason)
	case w.State == "asked":
		return exchange.WithdrawalStatement{Action: exchange.WithdrawApprove, Of: w.Asked}, nil
	}
	return exchange.WithdrawalStatement{Action: exchange.WithdrawAsk, Reason: reason}, nil
}

func (w withdrawal) print(out io.Writer) {
	switch w.State {
	case "withdrawn":
		fmt.Fprintf(out, "%s：已撤回，自 / withdrawn since %s\n", w.Number, w.Withdrawn.In(beijing.Zone()).Format(time.DateTime))
	case "asked":
		fmt.Fprintf(out, "%s：%s 已申请撤回（%s），待另一位安全管理员批准 / pending, another security administrator must approve\n", w.Number, w.By, w.Reason)
	default:
		fmt.Fprintf(out, "%s：申请已驳回，文书仍有效 / rejected, the document stands\n", w.Number)
	}
}
