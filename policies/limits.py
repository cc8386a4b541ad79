"""Every upper bound of the product, with its reason (law 12). Checked at the border, printed in the docs."""

from typing import Final

# --- numbers -------------------------------------------------------------------------------------
REQUESTED_MAX: Final = 2**53 - 1
"""One quantity on the wire, in the feature's unit: what JSON producers and Lua can both hold exactly."""
QUANTITY_MAX: Final = 10**15
"""One scaled quantity (R22): nine of them still fit a counter."""
COUNTER_MAX: Final = 9 * 10**15
"""One counter, scaled: below 2^53, since Redis Lua counts in doubles."""
QUANTITY_TEXT: Final = 40
"""Characters of a quantity sent as text; longer ones are refused unread."""
DECIMALS_MAX: Final = 9
"""Digits after the point that a meter keeps: with QUANTITY_MAX still a million whole units."""

# --- text ----------------------------------------------------------------------------------------
ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:@+=~-]{0,127}$"
"""Ids that callers choose (tenant, service, entity, event): in paths, so no space, quote or slash."""
ID_LENGTH: Final = 128
CATALOG_ID_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,62}$"
"""Ids in plan files (plans, features, add-ons); they become parts of policy ids and of key names."""
KEY_LENGTH: Final = 256
"""The secret of an API key as it is sent."""
NAME_LENGTH: Final = 200
REASON_LENGTH: Final = 500
PROPERTY_COUNT: Final = 16
"""Keys in `properties` of an event or `context` of a check."""
PROPERTY_LENGTH: Final = 256
EMAIL_LENGTH: Final = 254
IDEMPOTENCY_KEY_LENGTH: Final = 255
METADATA_COUNT: Final = 50
METADATA_LENGTH: Final = 500

# --- requests ------------------------------------------------------------------------------------
BODY_BYTES: Final = 8 * 1024 * 1024
"""One HTTP body: a full batch of usage with room to spare."""
NESTING_DEPTH: Final = 32
"""Arrays and objects in one JSON body; deeper input would reach the decoder's recursion limit."""
BODY_CONTAINERS: Final = 100_000
"""Arrays and objects in one JSON body: five times those of a full batch."""
BODY_SECONDS: Final = 30
"""How long a body may take to arrive, so that a sender who trickles holds no place for ever."""
HEAD_BYTES: Final = 32 * 1024
"""Request line and headers together."""
HEAD_SECONDS: Final = 20
"""How long they may take to arrive, after the connection or the request before."""
FIELD_ERRORS: Final = 100
"""Bad fields told in one answer."""
CHECK_BATCH: Final = 1_000
"""Questions of one call: about 0.1 s of a worker, which serves nobody else meanwhile."""
USAGE_BATCH: Final = 10_000
"""Events of one call."""
SCRIPT_BATCH: Final = 1_000
"""Events of one script call: about 3 ms of a server that serves one caller at a time."""
SCRIPT_BYTES: Final = 300_000
"""Payload of one script call, and so of one journal entry: the flush reads many entries at once."""
LIST_LIMIT: Final = 1_000
LIST_LIMIT_DEFAULT: Final = 100
SERIES_POINTS: Final = 100_000
"""Points of one usage report, over all its series."""
REPORT_PERIODS: Final = 400
"""Usage periods of one report that a level is totalled over: a year of days."""
REVISIONS: Final = 1_000
"""Versions of one event: who changes it looks at all of them."""
REJECTED_DAYS: Final = 35
"""How long a rejected event stays visible."""

# --- time ----------------------------------------------------------------------------------------
EVENT_AGE_DAYS: Final = 35
"""How late an event may come; less than the dedupe horizon, so that no duplicate outlives its key."""
EVENT_AHEAD_SECONDS: Final = 300
"""How far ahead a sender's clock may run."""
MARK_HOURS: Final = 48
"""How long Redis remembers an event's id (R26)."""
DEDUPE_DAYS: Final = 60
"""How long Postgres remembers it, at least."""
BACKDATE_DAYS: Final = 400
"""How far back a subscription may start: a year of history and the month it began in."""
START_AHEAD_DAYS: Final = 400
"""How far ahead a subscription may be scheduled to start."""
CLOCK_LAST_YEAR: Final = 2999
"""How far a clock may be moved, where it may be moved: what lies ahead of it still has a date."""

ANCHOR_YEAR_MIN: Final = 1990
"""The first year of an anchor: period arithmetic is tested from here on."""
LAST_KNOWN_HOURS: Final = 24
"""How old the state behind a `lastKnown` answer may be (R29)."""
ROLLOVER_GRACE_S: Final = 3_600
"""How long after a period's end late events change what it carries (R19)."""
ROLLOVER_DAYS: Final = 12 * 31
"""How long a rest may last: a year in months, or one interval of a year. So long counters are kept."""
KEY_OVERLAP_HOURS: Final = 30 * 24
"""How long a rotated key may go on to work beside its successor."""
IDEMPOTENCY_HOURS: Final = 24
"""How long an Idempotency-Key answers with the first response."""
PHASES: Final = 32
"""Phases of a subscription that a snapshot carries; older ones stay in Postgres."""
PHASES_BILLED: Final = 1_000
"""Phases of a subscription that a bill looks at: of a year, three changes of seats on every working day."""
BILLING_FACTS: Final = 64
"""Billing statuses of a subscription that a snapshot carries; older ones stay in Postgres."""
RECONCILE_DAYS: Final = 40
"""How far back a full look lists what a provider has: a month that was billed, and the days to pay."""
RECONCILE_TENANTS: Final = 200
"""Tenants whose billing statuses are read in one transaction."""
RECONCILE_MISSED: Final = 100
"""Notices that did not come, of which one look reads."""
RECONCILE_STUCK: Final = 8
"""So many looks at a thing that failed in a row are told."""
RECONCILE_AT_ONCE: Final = 8
"""Questions to a provider at the same time, beside those of the push."""
RECONCILE_BOOKS: Final = 1_000
"""Differences of the books that a plan tells of, the oldest."""
PAYMENT_FACTS: Final = 500
"""Facts about payments of a tenant that are weighed, the last ones: years of them."""
RESERVATION_SECONDS: Final = 86_400
"""How long a reservation may hold, at most: a job that runs longer reserves anew as it goes on."""
RESERVATION_SECONDS_DEFAULT: Final = 300
RESERVATIONS_OPEN: Final = 10_000
"""Open reservations of one tenant: about 5 MB in Redis, and two seconds of a worker if all of them expire."""
RESERVATIONS_SWEPT: Final = 100
"""Expired reservations of one tenant that one script call ends: a few milliseconds."""
RESERVATION_DAYS: Final = DEDUPE_DAYS
"""How long one that has ended can be looked at; it can be settled as late as an event may come."""
ADDON_QUANTITY: Final = 100_000
"""How many times one add-on is held; what it gives so many times is one quantity, and bounded as one."""
GRANTS: Final = 200
"""Grants of one tenant that have not ended: each is a bucket that a draw may have to look at."""
GRANTS_OF_FEATURE: Final = 50
"""Those of one feature that have not ended: each is a counter that every check and draw may have to read."""
GRANTS_CARRIED: Final = 400
"""Grants in one snapshot: all that have not ended, and as many again for late events."""
GRANT_BACK_DAYS: Final = EVENT_AGE_DAYS
"""How far back a grant may take effect: no event that is older comes any more, so none could draw from it."""
PRIORITY_MAX: Final = 1_000
"""The priority that draws last; the plan's included quantity has 100."""
UNIQUE_VALUES: Final = 100_000
"""Values of a property that one tenant's period counts: 3.7 MB of Redis; events with more are rejected."""
OVERRIDES: Final = 200
"""Features of one tenant whose terms are overridden at once."""
OVERRIDES_CARRIED: Final = 400
"""Overrides in one snapshot: all that hold, and as many again for late events."""
FACTS_BACK_DAYS: Final = EVENT_AGE_DAYS + 5
"""How long a grant or an override stays in the snapshot after its end: late events are weighed by it."""
CLOSE_GRACE_LEAST_S: Final = 300
"""How long after its end a billing period stays open for late events, at least: clocks differ by less."""
CLOSE_DUE: Final = 20_000
"""Tenants whose periods one look at what is due finds; those that remain are found by the next."""
CLOSE_BATCH: Final = 200
"""Tenants whose periods one transaction closes: part of a second in which their shards are not flushed."""
OVERDUE_BATCH: Final = 1_000
"""Invoices that one run finds overdue; the next finds the rest."""
CLOSE_AGAIN_S: Final = 3_600
"""After which a period is tried again that could not be closed."""

# --- catalog -------------------------------------------------------------------------------------
CATALOG_FILE_BYTES: Final = 1_000_000
CATALOG_FILES: Final = 2_000
CATALOG_PATH_LENGTH: Final = 200
"""Characters of a file's path; it stands in every finding of the file."""
CATALOG_BYTES: Final = 32_000_000
CATALOG_HTTP_BYTES: Final = 500_000
"""A catalog sent over HTTP: a few seconds of a processor; larger ones are published by the command line."""
CATALOG_DEPTH: Final = 32
CATALOG_FINDINGS: Final = 1_000
"""Findings of one check; the rest is summed up in one line."""
FEATURES: Final = 1_000
PLANS: Final = 1_000
ADDONS: Final = 50
"""Add-ons of one subscription."""
INVARIANTS: Final = 50
"""Rules of one catalog; there are five kinds, each with exceptions of its own."""
TABLE_CASES: Final = 1_000
"""Table tests of one file."""
CASE_ENTITIES: Final = 50
"""Entities that one table test gives usage."""
CAPS: Final = 4
"""Caps of one feature in one plan: each is an axis of the decision table."""
TIERS: Final = 50
"""Tiers of one price."""
THRESHOLDS: Final = 10
ROLLOVER_INTERVALS: Final = 12
"""Periods for which a rest lasts: each is a bucket, and a window that every check and draw has to read."""
TRIAL_DAYS: Final = 730
GRACE_DAYS: Final = 365
"""Days of grace, and of restriction, after a failed payment."""
PAYMENT_ATTEMPTS: Final = 12
"""Days on which one invoice is tried: card networks count what is tried too often against who tries."""
MONEY_DIGITS: Final = 9
"""Digits before the point of one amount in a plan file, in major units."""
MONEY_DECIMALS: Final = 12
"""Digits after the point of a unit price; a price that is charged as it stands has at most 3."""
STATIC_VALUE_LENGTH: Final = 4_000
"""Characters of a static feature's text, or of an object as JSON."""
GUARD_FILE_BYTES: Final = 64 * 1024
"""One file of guards."""
GUARD_TOKENS: Final = 300
"""Words and signs of one guard: Cedar's parser dies on long chains."""
GUARD_DEPTH: Final = 32
"""Brackets inside each other in a guard: Cedar's parser dies on deep ones."""
GUARD_REASON_LENGTH: Final = 200
"""Signs of the sentence that a guard refuses with: one line of an answer."""
GUARDS: Final = 200
"""Guards of one catalog."""
GUARDS_OF_FEATURE: Final = 16
"""Guards that hold for one feature: each adds 5 KB to what is parsed of it, 20 MB in all of PARSED_ALIVE."""
EXAMINE_S: Final = 60
"""How long a catalog may take to be examined, in a process of its own."""
EXAMINE_S_PER_MB: Final = 30
"""What each megabyte of it may take beyond that: reading YAML costs 5 to 10 s."""

MOVE_BATCH: Final = 500
"""Tenants that one transaction moves to another plan version: some 0.2 s in which their changes wait."""
MOVES_A_CALL: Final = 10_000
"""Tenants that one HTTP call moves, or a batch more: a few seconds; the next call carries on."""
MOVES_LEFT: Final = 100
"""Tenants named with the reason why they were not moved; the others are counted."""
PREVIEW_TENANTS: Final = 20
"""Tenants named in the preview of a publish, for each plan that changed."""

# --- caches and waits ----------------------------------------------------------------------------
SLICES_ALIVE: Final = 4_096
"""Policy slices of one worker, unparsed: about 20 MB."""
PARSED_ALIVE: Final = 256
"""Those of them that are kept as Cedar has parsed them, with probes and two guards: about 16 MB."""
FACTS_ALIVE: Final = 1_024
"""Handles of tenant facts of one worker; tenants with equal facts share one."""
TERMS_ALIVE: Final = 40_000
"""Terms in the plan versions that one worker keeps: about 40 MB."""
TERMS_COMBINED: Final = 8_192
"""What plans give of a feature by themselves, worked out once for all their tenants: about 8 MB."""
TABLES_ALIVE: Final = 8_192
"""Decision tables of one worker, one for each slice and set of facts: about 16 MB."""
TABLE_CELLS: Final = 64
"""Cells of one table and request context: two numbers on what was drawn and one on each of CAPS make 48."""
TABLE_VARIANTS: Final = 16
"""Distinct request contexts that a table keeps answers for (R5); past it Cedar is asked each time."""
SNAPSHOTS_ALIVE: Final = 20_000
"""Tenants whose snapshot one worker keeps."""
SNAPSHOT_BATCH: Final = 500
"""Snapshots of one query; more wait for the next."""
SNAPSHOT_COPY_S: Final = 86_400
"""How long Redis keeps the copy of a snapshot that nobody changes: about 1 KB a tenant."""
RIGHTS_ALIVE: Final = 20_000
"""Resolved rights that one worker keeps, over all its tenants and features: about 60 MB."""
ACCOUNTS_ALIVE: Final = 20_000
"""Features of tenants in a period that one worker keeps as the scripts read them: about 20 MB."""
WANTS_ALIVE: Final = 50_000
"""Reads of counters that one worker keeps packed: about 40 MB."""
NAMES_ALIVE: Final = 4_096
"""Names of time windows, and of counters in them, that one worker keeps, so that tenants share them."""
ROWS_ALIVE: Final = 20_000
"""Beginnings of rows that a flusher keeps, of what a tenant's events share: about 8 MB."""
KEYS_ALIVE: Final = 10_000
"""API keys that one worker remembers."""
KEY_SECONDS: Final = 5
"""How long it believes one, while Postgres answers: a revocation holds after that."""
REDIS_TIMEOUT_S: Final = 0.5
"""How long a request waits for Redis before it answers without it."""
REDIS_TRIPS: Final = 2
"""Round trips under way at once while the first waits for a disk, so that a worker has work meanwhile."""
REDIS_FULL_PERCENT: Final = 80
"""How much of its memory Redis may use before usage is turned away; the rest is for what decisions need."""
REDIS_ROOM_PERCENT: Final = 75
"""Below which it is taken again."""
REDIS_WAIT_MS: Final = 200
"""How long an acknowledgement waits for replicas (METERGATE_REDIS_REPLICAS) before it is none."""
REDIS_TRIP_PARTS: Final = 40_000
"""Words of commands in one round trip to Redis: some 3,000 events, done in a fraction of the time above."""
REDIS_WAITING_PARTS: Final = 400_000
"""Words that may wait for their round trip; more is turned away at once instead of late."""
WORKER_REDIS_TIMEOUT_S: Final = 30.0
"""The same for a worker's bulk trips, on a disk that may be slow; nobody waits for their answer."""
CLUSTER_LOOK_S: Final = 1.0
"""How often a process asks the nodes of a Redis Cluster who has which shard, without a reason to."""
CLUSTER_PAUSE_S: Final = 0.1
"""How long it leaves them alone in between, however much makes it doubt."""
NODE_PATIENCE_S: Final = 1.0
"""How long a worker waits for a slow node of a cluster before it goes on with the others."""
STRICT_S: Final = 1.0
"""How long an acknowledgement under `strict` waits for the flush before its sender must come again."""
POSTGRES_TIMEOUT_S: Final = 1.0
"""How long a request waits for a connection to Postgres."""
POSTGRES_ANSWER_S: Final = 0.4
"""How long Postgres may leave the pulse of an API process unanswered before nobody waits for it any more."""
POSTGRES_STATEMENT_S: Final = 10.0
"""How long one statement of a request may take; a report over a year is the longest."""
WORKER_STATEMENT_S: Final = 300.0
"""The same for a worker."""
WORKER_ANSWER_S: Final = 10.0
"""The same for the pulse of a worker, as POSTGRES_ANSWER_S is for that of an API process."""
FLUSH_EVENTS: Final = 10_000
"""Events of one flush transaction, or a little more."""
FLUSH_INTERVAL_S: Final = 0.25
"""How often a flush begins."""
INBOX_BYTES: Final = 8_000_000_000
"""Usage that waits in Postgres while Redis is away: some 15,000,000 events; past it senders come again."""
INBOX_BATCH: Final = 1_000
"""Events of it that one transaction hands to the scripts."""
INBOX_AGAIN_S: Final = 60
"""After which it is handed on again, if it has not come back through the journal."""
TRIM_DELAY_S: Final = 900
"""Journal entries stay this long after their commit, so that a restore of Postgres loses no usage."""
BOOKS_TENANTS: Final = 200
"""Tenants whose books one run of the job looks at: a million within half a day."""
BOOKS_INTERVAL_S: Final = 10.0
"""How often such a run begins."""
BOOKS_PARTS: Final = 32
"""Shards that one run goes on with, where they have few tenants."""
BOOKS_PAGE: Final = 50
"""Tenants that are looked at together."""
BOOKS_ROUND_S: Final = 3_600
"""How long a part of the books rests once it was whole."""
BOOKS_AGAIN_S: Final = 60
"""How far apart the two looks are that call a difference drift."""
BOOKS_FIELDS: Final = 2_000
"""Counters that one look reads: about 0.5 ms of a server that serves one caller at a time."""
BOOKS_ENTRIES: Final = 200
"""Journal entries past the flush that one look reads; with more it says that the flush is behind."""
BOOKS_NAMES: Final = 1_000
"""Names that one step of a scan of Redis goes through: as long as the same."""
BOOKS_DAYS: Final = 2
"""Days of which the job holds the sums against the events; a check by hand all that late ones may change."""
DRIFT_DAYS: Final = 90
"""How long a difference that is gone can be looked at."""
DRIFT_LISTED: Final = 1_000
"""Differences that are listed at once; the rest is counted."""
DECISION_LOG_ENTRIES: Final = 20_000
"""Decisions that wait to be made rows in one API process: a second of denials, about 20 MB."""
DECISION_LOG_DENIALS: Final = 1_000
"""Denials a second of which one API process keeps each: about a thirtieth of its time."""
DECISION_LOG_OVER: Final = 100
"""Past that one in so many is kept, and stands for as many."""
DECISION_LOG_BYTES: Final = 64_000_000
"""Rows of one API process that wait for Postgres; what comes after that is dropped and counted."""
DECISION_LOG_DAYS: Final = 30
"""How long decisions are kept to be looked at, run again and replayed: a month of use."""
HISTORY_DAYS: Final = BACKDATE_DAYS
"""How far back a decision may be asked `at`: as far as a subscription reaches; events are kept as long."""
REPLAY_DECISIONS: Final = 1_000_000
"""Logged decisions of one replay on the command line, newest first: some minutes of one processor."""
REPLAY_HTTP_DECISIONS: Final = 20_000
"""The same over HTTP, whose caller waits for the answer: a few seconds, and about 30 MB."""
REPLAY_TENANTS: Final = 20
"""Tenants that a replay names; the rest is counted."""
REPLAY_EXAMPLES: Final = 3
"""Decisions that a replay names of each kind of change."""

# --- payment providers -----------------------------------------------------------------------------
PAYMENT_TIMEOUT_S: Final = 10
"""One request to a provider; far less than PUSH_LEASE_S, so that nobody takes over while it is under way."""
PAYMENT_IN_FLIGHT: Final = 16
"""Requests to a provider at once, by all our processes together; at 60 they were seen to be shed."""
PAYMENT_LANE_RATE: Final = 20
"""Requests of one kind a second: four fifths of what a provider takes."""
PAYMENT_RATE: Final = 80
"""Requests a second in all, with a live key."""
PAYMENT_TEST_RATE: Final = 20
"""The same with a test key."""
PAYMENT_WAIT_S: Final = 5
"""How long a request waits for its turn before it is put off."""
NOTICE_BYTES: Final = 1024 * 1024
"""One notice of a provider."""
NOTICE_TOLERANCE_S: Final = 300
"""How far the time at which a notice was signed may be from now, so that an old one cannot be sent again."""
PUSH_LEASE_S: Final = 60
"""How long a worker that has died keeps others from a tenant's charges."""
PUSH_BATCH: Final = 200
"""Charges that are planned in one transaction, and tenants that one run of the job works on."""
PUSH_AT_ONCE: Final = 8
"""Tenants that a worker works on at the same time: each waits for the provider nearly all the time."""
LOOK_BATCH: Final = 50
"""Things of a provider that a worker looks at in one go."""
LOOK_LEASE_S: Final = 60
"""How long a worker that has died keeps others from looking at a thing."""
NOTICES_S: Final = 300
"""How often a provider is asked for notices that did not reach us."""
NOTICES_AGAIN_S: Final = 600
"""How far before the last question the next one begins: what happened shows there a little later."""
NOTICE_DAYS: Final = 35
"""How long notices are kept: providers remember 30 days."""
