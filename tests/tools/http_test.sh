#! /usr/bin/env atf-sh
# The HTTP server against stock clients: the same source as in usr/httpd, behind a socket of this machine, with the
# record of a machine that is made up.

ROOT=$(cd "$(atf_get_srcdir)/../../.." && pwd)

serve() {
	mkfifo hold
	"$ROOT/build/host/httphost" "$@" <hold >port 2>host.err &
	HOST=$!
	exec 6>hold
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ -s port ] && break
		sleep 0.1
	done
	[ -s port ] || atf_fail "no server: $(cat host.err)"
	PORT=$(cat port)
	URL=http://127.0.0.1:$PORT
}

# Its sanitizers have the last word.
finish() {
	kill -0 $HOST 2>/dev/null || atf_fail "the server ended: $(cat host.err)"
	echo >&6
	wait $HOST || atf_fail "the server failed: $(cat host.err)"
}

atf_test_case curl_gets_the_page_whole
curl_gets_the_page_whole_body() {
	command -v curl >/dev/null || atf_skip 'curl is missing: tools/bootstrap test'
	for words in '' '-s 5'; do
		rm -f hold port
		serve $words
		atf_check -o save:page curl -sS --max-time 60 "$URL/"
		atf_check cmp page "$ROOT/usr/httpd/page.html"
		# One connection for several requests.
		atf_check -o save:json -e save:said curl -svS --max-time 60 "$URL/status.json" "$URL/status.json"
		atf_check -o ignore grep -i 're-using existing connection' said
		atf_check -o match:'HTTP/1.1 404' -o match:'no such page' curl -siS "$URL/nothing"
		atf_check -o match:'HTTP/1.1 200' -o match:'Content-Length' -o not-match:html curl -sIS "$URL/metrics"
		atf_check -o match:'HTTP/1.1 405' -o match:'Allow: GET, HEAD' curl -siS -X DELETE "$URL/"
		atf_check -o match:'HTTP/1.1 413' curl -siS -X GET -d x "$URL/"
		atf_check -o match:'HTTP/1.1 414' curl -siS "$URL/$(head -c 3000 /dev/zero | tr '\0' a)"
		atf_check -o match:'HTTP/1.1 431' curl -siS -H "X: $(head -c 3000 /dev/zero | tr '\0' a)" "$URL/"
		atf_check -o match:'HTTP/1.1 503' curl -siS "$URL/evidence.json"
		finish
	done
}

atf_test_case the_page_refers_to_nothing_elsewhere
the_page_refers_to_nothing_elsewhere_body() {
	# The one address in it is a name: of the format of pictures.
	atf_check -s exit:1 grep -nE '(src|href|url)[ =(]*["'\'']?(https?:|//)|@import|<link [^>]*stylesheet' "$ROOT/usr/httpd/page.html"
}

atf_test_case a_browser_shows_plots_that_move
a_browser_shows_plots_that_move_head() { atf_set timeout 300; }
a_browser_shows_plots_that_move_body() {
	. "$ROOT/tests/browser/browser.subr"
	need_browser
	serve
	browse "$URL/" 12
	browser_checks
	# What devices call themselves is text, never markup.
	atf_check -s exit:1 grep -F '<b>model' dom.html
	atf_check -o ignore grep -F '"&lt;b&gt;model' dom.html
	shot "$URL/" 1200 1500 "$ROOT/build/status-page.png"
	finish
}

atf_init_test_cases() {
	atf_add_test_case curl_gets_the_page_whole
	atf_add_test_case the_page_refers_to_nothing_elsewhere
	atf_add_test_case a_browser_shows_plots_that_move
}
