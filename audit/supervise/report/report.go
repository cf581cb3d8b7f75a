// Package report writes tables of supervision's statistics for people: as a
// spreadsheet (XLSX) and as pages to print (PDF).
//
// Both say the same in the same order: one row per period and department,
// matter, source or operator. The values are codes and accounts; nothing here is
// about a resident. A text that a spreadsheet could take for a formula is written
// as text.
package report

import (
	"errors"
	"fmt"

	"yizheng/audit/supervise"
)

// ErrTooLong: the table has more rows than a document may have.
var ErrTooLong = errors.New("supervise report: too many rows for one document")

// Table is what is written.
type Table struct {
	By       supervise.Dimension
	From, To string // days, both included: 2006-01-02
	Monthly  bool
	Lines    []supervise.Line
}

// column of a document.
type column struct {
	name  string
	width float64 // mm on paper; a spreadsheet takes half as many characters
	value func(supervise.Line) any
}

// align is how a page sets the column: texts to the left, numbers to the right.
func (c column) align() string {
	if _, text := c.value(supervise.Line{}).(string); text {
		return "L"
	}
	return "R"
}

func (t Table) columns() []column {
	return []column{
		{"期间", 24, func(l supervise.Line) any { return l.Period }},
		{t.dimension(), 66, func(l supervise.Line) any { return l.Value }},
		{"请求", 20, func(l supervise.Line) any { return l.Asked }},
		{"拒绝", 20, func(l supervise.Line) any { return l.Refused }},
		{"成功", 20, func(l supervise.Line) any { return l.Good }},
		{"失败", 20, func(l supervise.Line) any { return l.Failed }},
		{"成功率", 22, func(l supervise.Line) any { return l.Rate }},
		{"p50 毫秒", 24, func(l supervise.Line) any { return l.P50 }},
		{"p95 毫秒", 24, func(l supervise.Line) any { return l.P95 }},
		{"黄牌", 16, func(l supervise.Line) any { return l.Yellow }},
		{"红牌", 16, func(l supervise.Line) any { return l.Red }},
	}
}

func (t Table) dimension() string {
	return map[supervise.Dimension]string{supervise.ByDepartment: "部门", supervise.ByItem: "事项", supervise.BySource: "来源", supervise.ByOperator: "操作员"}[t.By]
}

func (t Table) title() string {
	each := "每日"
	if t.Monthly {
		each = "每月"
	}
	return fmt.Sprintf("电子监察统计：按%s，%s，%s 至 %s", t.dimension(), each, t.From, t.To)
}
