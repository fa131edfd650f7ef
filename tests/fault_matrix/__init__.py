"""The fault matrix: each row a test against real processes, with the outcome that the row names.

One installation serves all of them: PostgreSQL (durable), Valkey, an S3 server for the media, the sandbox for fal, and
our own web (granian), two workers, two watchers and beat, in a house of the drill's. Members order by the web's own
pages. What became of an order is read from PostgreSQL, S3 and the sandbox's books, never from what a function returned.

`launcher` kills or holds a real process between two steps, `arming` is the test's end of it, `installation` keeps the
fleet up, `people` order, `tale` tells what became of an order, `weather` orders all that needs no striking at once.
Times of minutes are seconds here (`installation.HURRY`); a deadline is let pass by moving `sent_at` of the one row.

| fault | when | tests |
| --- | --- | --- |
| SIGKILL web | between commit and ring | test_killed: test_web_killed_between_commit_and_ring_... |
| SIGKILL worker | before the POST | test_killed: test_worker_killed_before_the_post_... |
| SIGKILL worker | after the POST, before recording | test_killed: test_worker_killed_after_the_post_... (2) |
| connection lost, timeout, "nginx" 5xx after send | submit | test_fal_fails: test_an_answer_lost_... (5 + 4) |
| 4xx with fal's own headers | submit | test_fal_fails: test_a_submit_that_fal_refuses_... (3) |
| 5xx and 429 with fal's own headers | submit | test_fal_fails: test_a_submit_that_fal_cannot_take_... (3) |
| 403 locked | submit | test_fal_fails: test_a_locked_account_... |
| 500, 502, 504 | running | test_fal_fails: test_a_run_that_breaks_... (3), test_a_fault_of_fals_that_stays_... (4) |
| 500, 502, 504 | result | test_fal_fails: test_a_result_that_is_not_there_... (3), ..._that_stays_...[result=502] |
| 422 (content, picture) | running | test_fal_fails: test_a_422_while_running_... (2) |
| SIGKILL watcher | running | test_killed: test_watcher_killed_while_clips_run_... (the lease of production) |
| SIGKILL worker | mid download, after it, before settle | test_killed: test_worker_killed_while_the_clip_... (4) |
| webhook lost, doubled, late | any | test_webhooks: test_whatever_becomes_of_fals_call_... (7) |
| webhook doubled x10 | any | test_webhooks: test_the_same_call_ten_times_at_once_... |
| webhook before the submit was recorded | | test_webhooks: test_a_call_before_the_submit_was_recorded_... |
| webhook after cancel | | test_webhooks: test_a_call_after_a_cancel_... |
| webhook after settle | | test_webhooks: test_a_call_after_the_settlement_... |
| webhook forged, stale, another's, unknown, 10 MB | any | test_webhooks: test_a_call_that_is_not_to_be_... (6) |
| result link 404, truncated, HTML, 2 GB, not playable | storing | test_links: test_a_link_that_stays_bad_... (7) |
| result link slow, or bad for a while | storing | test_links: test_a_link_that_is_slow_or_bad_for_a_while_... (5) |
| partial files | storing | test_links: test_no_file_in_the_making_is_left_of_any_of_them |
| storage down, refusing, full | storing | test_storage: test_storage_that_takes_nothing_... (3) |
| broker stopped, frozen, flushed | any | test_broker: test_without_a_broker_pages_answer_within_3_s_... (3) |
| PostgreSQL restarted, crashed | any | test_database: test_requests_fail_cleanly_or_are_retried_... (2) |
| clock jumps 1 h | any | test_clock_jumps: test_no_hold_in_flight_and_no_credits_expire_early_... (2) |
| double click, two tabs, re-sent form | submit | test_clicks: test_double_click_two_tabs_and_a_re_sent_form_... |
| 50 submits for the last 10 | submit | test_clicks: test_50_submits_for_the_last_10_... |
| cancel against completion | any | test_cancel: all |
| success after we gave up | late | test_late: test_success_after_we_gave_up_... (listed, and nothing attached) |
| deploy (SIGTERM), then SIGKILL | any | test_deploy: all |

"Failed over" of PostgreSQL is a restart on the same data here: a standby would be a second installation.
"""
