package main

import (
	"strings"
	"testing"
	"time"
)

func TestReplace(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		// E-mail addresses.
		{"plain", "Write to ann.lee@example.com.", "Write to [EMAIL]."},
		{"plus and sub-domain", "<ann+shop@mail.example.co.uk>", "<[EMAIL]>"},
		{"international domain", "mail an jörg@bücher.example, danke", "mail an [EMAIL], danke"},
		{"punycode", "x@xn--bcher-kva.example", "[EMAIL]"},
		{"scripts side by side", "邮箱ann@example.com谢谢", "邮箱[EMAIL]谢谢"},
		{"all in one script", "用户@例子.广告 好", "[EMAIL] 好"},
		{"Cyrillic", "почта: иван@пример.рф!", "почта: [EMAIL]!"},
		{"in a link", "mailto:ann@example.com?subject=x", "mailto:[EMAIL]?subject=x"},
		{"leading punctuation leaks nothing", ".'ann@example.com", "[EMAIL]"},
		{"two with a comma", "a@b.de,c@d.fr", "[EMAIL],[EMAIL]"},
		{"full-width sign", "ann＠example.com", "[EMAIL]"},
		{"a price at a number", "3@2.50 EUR", "3@2.50 EUR"},
		{"a handle", "thanks @support and me@home", "thanks @support and me@home"},
		{"a card number inside", "4111111111111111@example.com", "[EMAIL]"},
		{"hyphen behind", "ann@example.com-", "[EMAIL]-"},

		// Card numbers.
		{"spaces", "card 4111 1111 1111 1111 exp 12/27", "card [CARD] exp 12/27"},
		{"hyphens", "5500-0000-0000-0004.", "[CARD]."},
		{"none", "(378282246310005)", "([CARD])"},
		{"no-break spaces", "4111\u00a01111\u00a01111\u00a01111", "[CARD]"},
		{"19 digits", "6304000000000000000", "[CARD]"},
		{"wrong check digit", "4111 1111 1111 1112", "4111 1111 1111 1112"},
		{"behind another number", "order 12345 4111 1111 1111 1111", "order 12345 [CARD]"},
		{"before another number", "4111 1111 1111 1111 123", "[CARD] 123"},
		{"behind a date", "2024-01-15 4111111111111111", "2024-01-15 [CARD]"},
		{"behind letters", "Karte4111111111111111", "Karte[CARD]"},
		{"Chinese without spaces", "卡号4111111111111111谢谢", "卡号[CARD]谢谢"},
		{"milliseconds", "at 1700000000000", "at 1700000000000"},
		{"longer than a card", "41111111111111114111111111111111", "41111111111111114111111111111111"},
		{"all zeros", "0000 0000 0000 0000", "0000 0000 0000 0000"},
		{"order number", "order 1000482 and ORD-2024-000117", "order 1000482 and ORD-2024-000117"},

		// IBANs.
		{"German", "IBAN DE89 3704 0044 0532 0130 00 bitte", "IBAN [IBAN] bitte"},
		{"together, lower case", "gb82west12345698765432", "[IBAN]"},
		{"words that only add up to one", "A-10295? Robert Miller robert.miller@example.com", "A-10295? Robert Miller [EMAIL]"},
		{"Maltese, 31", "MT84MALT011000012345MTLCAST001S.", "[IBAN]."},
		{"wrong check digits", "GB82WEST12345698765433", "GB82WEST12345698765433"},
		{"unknown country", "ZZ89370400440532013000", "ZZ89370400440532013000"},
		{"longer than the country's", "DE893704004405320130001", "DE893704004405320130001"},
		{"inside of a word", "XDE89370400440532013000", "XDE89370400440532013000"},

		// Phone numbers.
		{"international", "call +49 (0)30 1234-567 now", "call [PHONE] now"},
		{"international in one", "+33612345678,", "[PHONE],"},
		{"double zero", "0049 30 1234567", "[PHONE]"},
		{"area code in brackets", "(030) 123456-78", "[PHONE]"},
		{"North America", "(555) 123-4567 or 555-234-4567 or 1-800-555-0199", "[PHONE] or [PHONE] or [PHONE]"},
		{"France", "06 12 34 56 78 / 06.12.34.56.78", "[PHONE] / [PHONE]"},
		{"area code and slash", "030 / 1234567, +49 170 - 1234567", "[PHONE], [PHONE]"},
		{"France, dots of a date", "01.02.20.24.56", "[PHONE]"},
		{"Spain", "Llámame al 612 345 678 por favor", "Llámame al [PHONE] por favor"},
		{"China", "手机13812345678。", "手机[PHONE]。"},
		{"Japan", "090-1234-5678まで", "[PHONE]まで"},
		{"behind a label", "Tel.030 1234567, Tel:030-1234567", "Tel.[PHONE], Tel:[PHONE]"},
		{"dates", "31.01.2024 12:30, 2024-01-31 08.15, 1/31/24", "31.01.2024 12:30, 2024-01-31 08.15, 1/31/24"},
		{"prices", "1.234,56 EUR, 12 345 678 Ft, 612 345 678,90", "1.234,56 EUR, 12 345 678 Ft, 612 345 678,90"},
		{"prices that begin with zero", "0.99 1.99 2.99 3.99", "0.99 1.99 2.99 3.99"},
		{"order numbers", "#0301234567, A-0123-456789, 2024-00123456, 0012345678", "#0301234567, A-0123-456789, 2024-00123456, 0012345678"},
		{"addresses", "192.168.100.200 at 10:15:30", "192.168.100.200 at 10:15:30"},
		{"a UUID", "550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"},
		{"a signed sum", "+12.50 and -12345678", "+12.50 and -12345678"},

		// Nothing at all.
		{"empty", "", ""},
		{"not UTF-8 passes through", "\xff\xfeabc", "\xff\xfeabc"},
		{"lonely signs", "@ + ( . - ' +( (0", "@ + ( . - ' +( (0"},
	} {
		got, n := replace(tc.text, nil)
		if got != tc.want {
			t.Errorf("%s: %q became %q, want %q", tc.name, tc.text, got, tc.want)
		}
		if want := strings.Count(tc.want, "["); n != want {
			t.Errorf("%s: counted %d, want %d", tc.name, n, want)
		}
	}
}

func TestReplaceNames(t *testing.T) {
	for _, tc := range []struct{ full, text, want string }{
		{"Anna Müller", "Hi, ANNA MÜLLER here; anna's parcel. Hannah and Annabel wait.", "Hi, [NAME] here; [NAME]'s parcel. Hannah and Annabel wait."},
		{"Ingrid Hansen", "Ingrid Hansen ingrid.hansen@example.no", "[NAME] [EMAIL]"},
		{"Juan de la Cruz", "Soy Juan de la Cruz, de la tienda", "Soy [NAME] de la [NAME], de la tienda"},
		{"Siobhán O'Brien-Wells", "O’BRIEN, Wells-O'Brien", "[NAME], [NAME]"},
		{"Bo Li", "Bo Li and bo li", "[NAME] and bo li"},
		{"王小明", "我是王小明，谢谢", "我是[NAME]，谢谢"},
		{"김 안나", "안나에게", "[NAME]에게"},
		{"Ирина Петрова", "от ирина ПЕТРОВА.", "от [NAME]."},
		{"Νίκος Γεωργίου", "ο ΝΊΚΟΣ", "ο [NAME]"},
		{"J. Smith", "J. Smith, smithy, smith2", "J. [NAME], smithy, smith2"},
		{"Ann", "ann.lee@example.com Ann", "[EMAIL] [NAME]"},
		{"", "nothing to do", "nothing to do"},
		{"  -- ' ", "-- ' --", "-- ' --"},
	} {
		if got, _ := replace(tc.text, appendNames(nil, tc.full)); got != tc.want {
			t.Errorf("%s in %q: got %q, want %q", tc.full, tc.text, got, tc.want)
		}
	}
}

// TestReplaceIsLinear would take far longer if a beginning were tried again and again.
func TestReplaceIsLinear(t *testing.T) {
	names := appendNames(nil, "Anna Müller")
	for _, piece := range []string{"a.", "1 ", "12-", "4", "ab@", "DE89 ", "(0", "+1(", "anna-", "安"} {
		text := strings.Repeat(piece, 1<<18/len(piece))
		start := time.Now()
		replace(text, names)
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("%q: 256 KiB took %v", piece, took)
		}
	}
}

// FuzzReplace holds the scanners to: no panic, and what holds no label changes nothing.
func FuzzReplace(f *testing.F) {
	f.Add("ann@example.com +49 30 1234567 DE89370400440532013000", "Anna")
	f.Add("(030) 4111 1111 1111 1111 01.02.2024", "O'Brien")
	f.Fuzz(func(t *testing.T, text, full string) {
		got, n := replace(text, appendNames(nil, full))
		if n == 0 && got != text {
			t.Errorf("%q became %q and nothing was counted", text, got)
		}
		if n > 0 && strings.Count(got, "]") < n {
			t.Errorf("%q became %q, and %d were counted", text, got, n)
		}
	})
}
