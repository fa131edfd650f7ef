from django.db import migrations, models

from accounts.ledger import chain

ENTRIES = f"SELECT id, {', '.join(chain.FIELDS)} FROM accounts_entry ORDER BY wallet_id, seq"
DRAWS = "SELECT entry_id, grant_id, source, target, amount FROM accounts_draw ORDER BY id"
WRITE = """
UPDATE accounts_entry e SET sha256 = made.sha256
FROM unnest(%s::bigint[], %s::text[]) AS made (id, sha256) WHERE e.id = made.id
"""


def forge(apps, schema_editor):
    """Chain what was written before there was a chain, as it stands today."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(DRAWS)
        draws = {}
        for entry, *draw in cursor.fetchall():
            draws.setdefault(entry, []).append(draw)
        cursor.execute(ENTRIES)
        made, last = [], (None, chain.GENESIS)
        for pk, *values in cursor.fetchall():
            row = dict(zip(chain.FIELDS, values))
            previous = last[1] if last[0] == row["wallet_id"] else chain.GENESIS
            last = (row["wallet_id"], chain.link(previous, chain.text_of(row, draws.get(pk, []))))
            made.append((pk, last[1]))
        cursor.execute("ALTER TABLE accounts_entry DISABLE TRIGGER USER")
        cursor.execute(WRITE, [[pk for pk, _ in made], [sha256 for _, sha256 in made]])
        cursor.execute("ALTER TABLE accounts_entry ENABLE TRIGGER USER")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_fair_share")]

    operations = [
        migrations.AddField(
            model_name="entry",
            name="sha256",
            field=models.CharField(
                default="",
                help_text="Over this row and the digest of the one before it: see accounts/ledger/chain.py.",
                max_length=64,
            ),
            preserve_default=False,
        ),
        migrations.RunPython(forge, migrations.RunPython.noop),
    ]
