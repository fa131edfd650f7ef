from django.db import migrations


class Migration(migrations.Migration):
    """What was priced before there were notes; the sweep rolls it up with the entries."""

    dependencies = [("generations", "0006_reports")]

    operations = [
        migrations.RunSQL(
            "INSERT INTO generations_costnote (attempt_id, delta_usd)"
            " SELECT id, fal_cost_usd FROM generations_attempt WHERE fal_cost_usd IS NOT NULL",
            migrations.RunSQL.noop,
        )
    ]
