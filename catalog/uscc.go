package catalog

import "errors"

var errUSCC = errors.New("wrong check character")

// checkUSCC verifies the check character of a unified social credit code that
// has the right form (GB 32100-2015, MOD 31-3).
func checkUSCC(code string) error {
	const set = "0123456789ABCDEFGHJKLMNPQRTUWXY"
	weight, sum := 1, 0
	for i := range 17 {
		sum += weight * indexByte(set, code[i])
		weight = weight * 3 % 31
	}
	if set[(31-sum%31)%31] != code[17] {
		return errUSCC
	}
	return nil
}

func indexByte(set string, b byte) int {
	for i := range set {
		if set[i] == b {
			return i
		}
	}
	return 0
}
