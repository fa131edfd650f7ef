"""The sandbox: a fal of our own for a machine without a key, in a process of its own.

It speaks fal's queue, storage, CDN, webhook and platform protocol closely enough for fal's stock clients, and makes
real H.264 clips from the pictures it is given. Imported by its command and by tests, by nothing else.

`store` keeps the jobs, `jobs` moves them along, `studio` and `clips` draw, `webhooks` signs and sends, `*_routes`
answer, `server` puts it together. Start it with `manage.py fal_sandbox` or `python -m generations.sandbox`.

A prompt may carry directives, `[[sandbox: run=500*1 webhook=none]]`, divided by spaces or semicolons; several combine;
one that is not in this table is refused with 422. `*N` behind a value makes it strike N times only: `result`, `status`
and `download` count per request, all others per engine and prompt, so that a second attempt meets better weather.

| directive | what happens |
| --- | --- |
| `submit=500` | the submit is answered with that status (400-599) and not accepted; `submit=504:after` accepts it |
| `nginx=502` | as `submit`, with a proxy's HTML page and no request id; `:after` accepts |
| `drop=before`, `drop=after` | the connection is cut once the submit was read: before / after accepting it |
| `hang=before`, `hang=after` | the submit is never answered: not accepted / accepted |
| `locked` | the submit is refused, 403, "User is locked" |
| `run=500`, `run=422:content_policy_violation` | the job ends so: a status, and one of fal's error types |
| `result=504*2` | the first two GETs of a finished result answer 504 |
| `status=503*3` | the first three GETs of the status answer 503 |
| `stream=404`, `stream=drop` | there is no status stream / it is cut after the first event |
| `seconds=2` | the whole job takes so long, whatever the sandbox was set to |
| `slow=60` | it runs so many seconds longer |
| `stuck`, `stuck=queue` | it stays IN_PROGRESS (holding its place) / IN_QUEUE for ever |
| `position=5` | so many strangers are ahead, leaving one by one, each after a tenth of the job's time |
| `cancel=ignored` | a cancel is answered 202 and changes nothing |
| `webhook=none` | no webhook |
| `webhook=duplicate` | everything twice |
| `webhook=late:3` | so many seconds after the end |
| `webhook=forged`, `stale` | instead of the genuine one: signed with another key / 400 seconds old |
| `webhook=unknown` | instead of the genuine one: genuine, for a request that nobody made |
| `webhook=payload_error` | `payload` is null, as for an output fal could not serialise |
| `download=404` | the clip's address answers that status |
| `download=html`, `notvideo` | a web page / text that says it is a video |
| `download=truncated`, `short` | half the bytes: connection cut before the promised length / length made to match |
| `download=toolarge`, `endless` | 8 GiB announced and sent / the same without a Content-Length |
| `download=slow:5`, `drop` | the bytes crawl over so many seconds (10) / the connection is cut without an answer |

The words of `webhook` combine with commas: `webhook=duplicate,late:2`.

`/control` answers what fal has no endpoint for; see `control_routes`.
"""
