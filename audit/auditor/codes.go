package auditor

// Code is what a problem is called, for machines, and what it means.
type Code struct {
	Code    string
	Chinese string
	English string
}

// Codes are all there are, in the order of docs/AUDIT.md, whose table says
// the same (a test compares them).
func Codes() []Code {
	return []Code{
		{"log.json", "日志说明缺失、被改，或不是钉住的密钥所签", "log.json is missing, changed or not signed by a pinned key"},
		{"origin", "日志名与预期不同", "the log has another name than expected"},
		{"missing", "应有的文件不在", "a file that has to be there is not"},
		{"extra", "多出不属于日志的文件或目录", "a file or directory does not belong to the log"},
		{"segment", "段文件长度不对或读不了", "a segment has a wrong length or cannot be read"},
		{"frame", "批帧被改、缺失、重复或调换；此后的条目不可信", "a frame was changed, dropped, repeated or moved: nothing from this entry on can be trusted"},
		{"signature", "签名不是钉住的密钥所签，或没有签名", "a head is not signed by the pinned key, or not at all"},
		{"padding", "最后一批之后不全是零", "bytes behind the last frame are not zero"},
		{"spare", "备用段不全是零", "the spare segment is not zeros"},
		{"open", "首条不是 log.open", "entry 0 is not log.open"},
		{"end", "未正常结束，或末尾被截去", "the log was not closed, or its end is missing"},
		{"previous", "与上一季度的衔接被改或未签名", "the link to the shard before is changed or not signed"},
		{"heads", "heads/last 与日志不符", "heads/last is not the log's last head"},
		{"checkpoint", "检查点与日志不符，或被换成旧的", "a checkpoint is not the log's, or an older one"},
		{"tile", "哈希瓦片与条目不符", "a tile is not that of the entries"},
		{"quarantine", "隔离文件与 log.recovered 所记不符", "a quarantined file is not what log.recovered says"},
		{"chain", "季度之间不相接，或缺少季度", "a shard does not continue the one before, or one is missing"},
		{"known", "与留存的检查点或条数不符：被截短、改写或分叉", "the log does not continue what was kept from earlier: cut, rewritten or forked"},
		{"witness", "见证不足、过旧，或见证的是另一份日志", "too few or too old cosignatures, or of another log than this one"},
		{"stamp", "时间戳缺失、过迟、无效，或不是这份日志的", "time stamps are missing, too late, not valid, or not of this log"},
		{"receipt", "文书上的回执在日志里对不上", "a document's receipt or pointer does not fit the log"},
		{"days", "某日的条数与以前的报告不符", "a day has not the entries of an earlier report"},
		{"schema", "条目字段不合规定", "a field of an entry is not of its form"},
		{"personal", "条目中有疑似证件号码或手机号", "an entry holds what looks like a person's number"},
		{"intent", "意向超过 15 分钟没有结果；跨季度时结果可能在下一季度，一并核验整个目录即知", "an intent has had no outcome for 15 minutes; when the quarter turned meanwhile the next one may have it: verify the whole directory"},
		{"absent", "缺少一项必需的核对依据；不能算通过", "something that a full verification needs was not given"},
		{"proof", "子集中某条的证明不成立", "a proof in a subset does not hold"},
		{"gap", "子集声称的范围不完整", "a subset does not hold all of the range that it claims"},
	}
}

// meaning is what a code says, for a report that people read.
func meaning(code string) string {
	for _, c := range Codes() {
		if c.Code == code {
			return c.Chinese
		}
	}
	return ""
}
