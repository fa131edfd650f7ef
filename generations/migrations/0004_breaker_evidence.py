from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generations', '0003_fair_share_and_breakers'),
    ]

    operations = [
        migrations.AddField(
            model_name='breaker',
            name='code',
            field=models.CharField(blank=True, choices=[('failing', 'fails'), ('no_access', 'is not open to this site'), ('gone', 'is not offered')], help_text='What is wrong with it; empty while it is closed.', max_length=20),
        ),
        migrations.AddField(
            model_name='breaker',
            name='evidence',
            field=models.JSONField(blank=True, default=list, help_text='The latest of these failures: generation, member, moment.'),
        ),
    ]
