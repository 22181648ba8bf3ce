BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE api_keys (
	id VARCHAR(64) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	scope VARCHAR(16) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	created_at FLOAT NOT NULL, 
	expires_at FLOAT, 
	revoked_at FLOAT, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT uq_api_keys_digest UNIQUE (digest)
);
INSERT INTO "api_keys" VALUES('keyOQfbBJ0TpIHt','acme','tenant','b4cda202553d15f7889352b7ba9c3b2f7afaa279520470ebb0365adb04bc70ec','',1800000000.0,NULL,NULL);
CREATE TABLE audit_head (
	id INTEGER NOT NULL, 
	number BIGINT NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	seal VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit_head PRIMARY KEY (id)
);
INSERT INTO "audit_head" VALUES(1,11,'b3fe987a7acaa2197438d110abe76de17da9bd12941819261e8a6413908adffc','35851f6d0199076647730f087adc0a813700e055148ece8469236c3bfac7f4a7');
CREATE TABLE audit_log (
	number INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	actor VARCHAR(128) NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	subject VARCHAR(256) NOT NULL, 
	facts TEXT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit_log PRIMARY KEY (number)
);
INSERT INTO "audit_log" VALUES(1,1800000000.0,'cli','key.created','acme','keyOQfbBJ0TpIHt','{"expires_at":null,"scope":"tenant"}','0000000000000000000000000000000000000000000000000000000000000000','0c2b34f8f5fcd2f6996e520bf17edefaf5aa54572f01e7c266ae196329d63dcd');
INSERT INTO "audit_log" VALUES(2,1800000000.0,'key-acme','webhook.created','acme','whe_e9dd3bc380834ce3ea912f8b','{}','0c2b34f8f5fcd2f6996e520bf17edefaf5aa54572f01e7c266ae196329d63dcd','900c62bc0d210eb98248a0f48465a4603eb92082e054e406b55a8f76ce867f08');
INSERT INTO "audit_log" VALUES(3,1800000000.0,'key-acme','file.created','acme','file-892ae3e5bbc54b65e8cf5b6f','{"bytes":10,"purpose":"fine-tune","sha256":"abababababababababababababababababababababababababababababababab"}','900c62bc0d210eb98248a0f48465a4603eb92082e054e406b55a8f76ce867f08','c98af629bc2bef461cea7ba70bf4a7e7411585c7da3dbfa017dafaef2491a7af');
INSERT INTO "audit_log" VALUES(4,1800000000.0,'key-acme','job.created','acme','ftjob-c7a456410a9294e3346ac774','{"model":"smollm2-135m","replaces":null,"training_file":"file-892ae3e5bbc54b65e8cf5b6f"}','c98af629bc2bef461cea7ba70bf4a7e7411585c7da3dbfa017dafaef2491a7af','36b74dd3b00346a1ad003dde0b2ab71be471ee3ed81d4d5b9c833c3f196662bb');
INSERT INTO "audit_log" VALUES(5,1800000000.0,'key-acme','file.created','acme','file-ca4955377e6166b6d2bf4f24','{"bytes":10,"purpose":"fine-tune","sha256":"abababababababababababababababababababababababababababababababab"}','36b74dd3b00346a1ad003dde0b2ab71be471ee3ed81d4d5b9c833c3f196662bb','15591ff00577e6902d53a099b9557a079173a5b83ca351da54e2f4119bee10fa');
INSERT INTO "audit_log" VALUES(6,1800000000.0,'key-acme','job.created','acme','ftjob-6250e691bc039ab6923b8645','{"model":"smollm2-135m","replaces":null,"training_file":"file-ca4955377e6166b6d2bf4f24"}','15591ff00577e6902d53a099b9557a079173a5b83ca351da54e2f4119bee10fa','2e237cedcdae3efef47e36de9c1aedfb387dc130f92dae32bf763fde43bdf31c');
INSERT INTO "audit_log" VALUES(7,1800000000.0,'w','job.succeeded','acme','ftjob-c7a456410a9294e3346ac774','{"error":null,"model":"ft:smollm2-135m:acme::ftjob-c7a456410a9294e3346ac774"}','2e237cedcdae3efef47e36de9c1aedfb387dc130f92dae32bf763fde43bdf31c','a0c42fc85d3692dd751c99c1f1a20f4f711e936d819fd0c625ddd45f8eeef616');
INSERT INTO "audit_log" VALUES(8,1800000000.0,'key-acme','job.pause','acme','ftjob-6250e691bc039ab6923b8645','{}','a0c42fc85d3692dd751c99c1f1a20f4f711e936d819fd0c625ddd45f8eeef616','b75efdf0213853f46c3b9836bad7f399f718722c94e4c05549826f5c1307dbdc');
INSERT INTO "audit_log" VALUES(9,1800000000.0,'w','job.paused','acme','ftjob-6250e691bc039ab6923b8645','{"error":null,"model":null}','b75efdf0213853f46c3b9836bad7f399f718722c94e4c05549826f5c1307dbdc','6527b9246a5c4934276531b05447eac69c4f3ba31e880b4bf47cc374a6cc78de');
INSERT INTO "audit_log" VALUES(10,1800000000.0,'key-acme','file.created','acme','file-945db19e4ccb12fd6b2fdd5a','{"bytes":10,"purpose":"fine-tune","sha256":"abababababababababababababababababababababababababababababababab"}','6527b9246a5c4934276531b05447eac69c4f3ba31e880b4bf47cc374a6cc78de','1b4e03103e0037d90b4877bf9aa09b285b8703daf0ee3db9d9085d032a1c944f');
INSERT INTO "audit_log" VALUES(11,1800000000.0,'key-acme','job.created','acme','ftjob-d44c46d2dd3d4fccfc4ad2bf','{"model":"smollm2-135m","replaces":null,"training_file":"file-945db19e4ccb12fd6b2fdd5a"}','1b4e03103e0037d90b4877bf9aa09b285b8703daf0ee3db9d9085d032a1c944f','b3fe987a7acaa2197438d110abe76de17da9bd12941819261e8a6413908adffc');
CREATE TABLE checkpoints (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(64) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	created_at FLOAT NOT NULL, 
	step BIGINT NOT NULL, 
	metrics TEXT NOT NULL, 
	location TEXT, 
	CONSTRAINT fk_checkpoints_job_id FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT uq_checkpoints_id UNIQUE (id)
);
INSERT INTO "checkpoints" VALUES(1,'ftckpt_33fc3575fdde87b77f3c1523','ftjob-c7a456410a9294e3346ac774','acme',1800000000.0,1,'{"train_loss":1.5}',NULL);
CREATE TABLE files (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(64) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	purpose VARCHAR(64) NOT NULL, 
	filename VARCHAR(512) NOT NULL, 
	bytes BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	blob VARCHAR(128) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	status_details TEXT, 
	created_at FLOAT NOT NULL, 
	expires_at FLOAT, 
	CONSTRAINT uq_files_id UNIQUE (id)
);
INSERT INTO "files" VALUES(1,'file-892ae3e5bbc54b65e8cf5b6f','acme','fine-tune','rows.jsonl',10,'abababababababababababababababababababababababababababababababab','abababababababababababababababababababababababababababababababab.0123456789abcdef','processed',NULL,1800000000.0,NULL);
INSERT INTO "files" VALUES(2,'file-ca4955377e6166b6d2bf4f24','acme','fine-tune','rows.jsonl',10,'abababababababababababababababababababababababababababababababab','abababababababababababababababababababababababababababababababab.0123456789abcdef','processed',NULL,1800000000.0,NULL);
INSERT INTO "files" VALUES(3,'file-945db19e4ccb12fd6b2fdd5a','acme','fine-tune','rows.jsonl',10,'abababababababababababababababababababababababababababababababab','abababababababababababababababababababababababababababababababab.0123456789abcdef','processed',NULL,1800000000.0,NULL);
CREATE TABLE idempotency_keys (
	tenant VARCHAR(64) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	body_digest VARCHAR(64) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	created_at FLOAT NOT NULL, 
	CONSTRAINT pk_idempotency_keys PRIMARY KEY (tenant, "key")
);
CREATE TABLE job_events (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(64) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	created_at FLOAT NOT NULL, 
	message TEXT NOT NULL, 
	level VARCHAR(16) NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	data TEXT, 
	private BOOLEAN NOT NULL, 
	CONSTRAINT fk_job_events_job_id FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT uq_job_events_id UNIQUE (id)
);
INSERT INTO "job_events" VALUES(1,'ftevent-137e868755f22a0eed5b7f50','ftjob-c7a456410a9294e3346ac774','acme',1800000000.0,'Created fine-tuning job: ftjob-c7a456410a9294e3346ac774','info','message',NULL,0);
INSERT INTO "job_events" VALUES(2,'ftevent-c74fa3855db55e6157aaae8a','ftjob-c7a456410a9294e3346ac774','acme',1800000000.0,'Validating training file: file-892ae3e5bbc54b65e8cf5b6f','info','message',NULL,0);
INSERT INTO "job_events" VALUES(3,'ftevent-5cb660b1069560941844a546','ftjob-6250e691bc039ab6923b8645','acme',1800000000.0,'Created fine-tuning job: ftjob-6250e691bc039ab6923b8645','info','message',NULL,0);
INSERT INTO "job_events" VALUES(4,'ftevent-8c5d06c1c5d58f17c7a83c77','ftjob-6250e691bc039ab6923b8645','acme',1800000000.0,'Validating training file: file-ca4955377e6166b6d2bf4f24','info','message',NULL,0);
INSERT INTO "job_events" VALUES(5,'ftevent-00ed502af93f78e406b31a62','ftjob-c7a456410a9294e3346ac774','acme',1800000000.0,'step 1','info','metrics','{"loss":1.5}',0);
INSERT INTO "job_events" VALUES(6,'ftevent-dc6aad96050d3afdb7827c54','ftjob-c7a456410a9294e3346ac774','acme',1800000000.0,'New fine-tuned model created: ft:smollm2-135m:acme::ftjob-c7a456410a9294e3346ac774','info','message',NULL,0);
INSERT INTO "job_events" VALUES(7,'ftevent-0cbaf986cc9d8ba13baca424','ftjob-c7a456410a9294e3346ac774','acme',1800000000.0,'The job has successfully completed','info','message',NULL,0);
INSERT INTO "job_events" VALUES(8,'ftevent-a218e7e0b3159295eef318d9','ftjob-6250e691bc039ab6923b8645','acme',1800000000.0,'Pausing the fine-tuning job','info','message',NULL,0);
INSERT INTO "job_events" VALUES(9,'ftevent-672b2d3c7a32d2031bbac0d0','ftjob-6250e691bc039ab6923b8645','acme',1800000000.0,'Fine-tuning job paused','info','message',NULL,0);
INSERT INTO "job_events" VALUES(10,'ftevent-e7a1a6e84fc9ee92e8f41dad','ftjob-d44c46d2dd3d4fccfc4ad2bf','acme',1800000000.0,'Created fine-tuning job: ftjob-d44c46d2dd3d4fccfc4ad2bf','info','message',NULL,0);
INSERT INTO "job_events" VALUES(11,'ftevent-9d8079487c379d6fe34bc680','ftjob-d44c46d2dd3d4fccfc4ad2bf','acme',1800000000.0,'Validating training file: file-945db19e4ccb12fd6b2fdd5a','info','message',NULL,0);
CREATE TABLE job_metadata (
	job_id VARCHAR(64) NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	value VARCHAR(512) NOT NULL, 
	CONSTRAINT pk_job_metadata PRIMARY KEY (job_id, "key"), 
	CONSTRAINT fk_job_metadata_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "job_metadata" VALUES('ftjob-c7a456410a9294e3346ac774','run','1');
CREATE TABLE jobs (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(64) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	key_id VARCHAR(64) NOT NULL, 
	body_digest VARCHAR(64) NOT NULL, 
	state VARCHAR(32) NOT NULL, 
	stage VARCHAR(32), 
	model VARCHAR(256) NOT NULL, 
	training_file VARCHAR(64) NOT NULL, 
	validation_file VARCHAR(64), 
	suffix VARCHAR(64), 
	seed BIGINT NOT NULL, 
	hyperparameters TEXT NOT NULL, 
	metadata TEXT NOT NULL, 
	created_at FLOAT NOT NULL, 
	started_at FLOAT, 
	finished_at FLOAT, 
	estimated_finish FLOAT, 
	fine_tuned_model VARCHAR(256), 
	result_files TEXT NOT NULL, 
	trained_tokens BIGINT, 
	error TEXT, 
	replaces VARCHAR(256), 
	worker VARCHAR(128), 
	lease_until FLOAT, 
	fence BIGINT NOT NULL, 
	crashes INTEGER NOT NULL, 
	waiting BOOLEAN NOT NULL, 
	CONSTRAINT uq_jobs_id UNIQUE (id)
);
INSERT INTO "jobs" VALUES(1,'ftjob-c7a456410a9294e3346ac774','acme','key-acme','0000000000000000000000000000000000000000000000000000000000000000','succeeded',NULL,'smollm2-135m','file-892ae3e5bbc54b65e8cf5b6f',NULL,NULL,1501802907,'{"batch_size":"auto","learning_rate_multiplier":"auto","n_epochs":"auto"}','{"run":"1"}',1800000000.0,1800000000.0,1800000000.0,NULL,'ft:smollm2-135m:acme::ftjob-c7a456410a9294e3346ac774','[]',100,NULL,NULL,NULL,NULL,2,0,0);
INSERT INTO "jobs" VALUES(2,'ftjob-6250e691bc039ab6923b8645','acme','key-acme','0000000000000000000000000000000000000000000000000000000000000001','paused',NULL,'smollm2-135m','file-ca4955377e6166b6d2bf4f24',NULL,NULL,1269738701,'{"batch_size":"auto","learning_rate_multiplier":"auto","n_epochs":"auto"}','{}',1800000000.0,1800000000.0,NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,2,0,0);
INSERT INTO "jobs" VALUES(3,'ftjob-d44c46d2dd3d4fccfc4ad2bf','acme','key-acme','0000000000000000000000000000000000000000000000000000000000000002','validating_files',NULL,'smollm2-135m','file-945db19e4ccb12fd6b2fdd5a',NULL,NULL,50851945,'{"batch_size":"auto","learning_rate_multiplier":"auto","n_epochs":"auto"}','{}',1800000000.0,NULL,NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,0,0,1);
CREATE TABLE models (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(256) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	base VARCHAR(256) NOT NULL, 
	job_id VARCHAR(64) NOT NULL, 
	location TEXT NOT NULL, 
	weights_digest VARCHAR(64) NOT NULL, 
	version INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	created_at FLOAT NOT NULL, 
	CONSTRAINT uq_models_job_id UNIQUE (job_id), 
	CONSTRAINT uq_models_name UNIQUE (name)
);
INSERT INTO "models" VALUES(1,'ft:smollm2-135m:acme::ftjob-c7a456410a9294e3346ac774','acme','smollm2-135m','ftjob-c7a456410a9294e3346ac774','releases/ftjob-c7a456410a9294e3346ac774','abababababababababababababababababababababababababababababababab',1,'ready',1800000000.0);
CREATE TABLE outbox (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(64) NOT NULL, 
	event_id VARCHAR(64) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	endpoint_id VARCHAR(64) NOT NULL, 
	type VARCHAR(64) NOT NULL, 
	body TEXT NOT NULL, 
	created_at FLOAT NOT NULL, 
	attempts INTEGER NOT NULL, 
	due_at FLOAT, 
	done_at FLOAT, 
	last_error TEXT, 
	CONSTRAINT uq_outbox_id UNIQUE (id)
);
INSERT INTO "outbox" VALUES(1,'whd_e470a35aae4b45553b5712d9','evt_deec9c116066879f4fe2d59a','acme','whe_e9dd3bc380834ce3ea912f8b','fine_tuning.job.succeeded','{"created_at":1800000000,"data":{"id":"ftjob-c7a456410a9294e3346ac774"},"id":"evt_deec9c116066879f4fe2d59a","object":"event","type":"fine_tuning.job.succeeded"}',1800000000.0,0,1800000000.0,NULL,NULL);
CREATE TABLE rates (
	key_id VARCHAR(64) NOT NULL, 
	calls FLOAT NOT NULL, 
	at FLOAT NOT NULL, 
	CONSTRAINT pk_rates PRIMARY KEY (key_id)
);
CREATE TABLE reports (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(64) NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	subject VARCHAR(256) NOT NULL, 
	created_at FLOAT NOT NULL, 
	data TEXT NOT NULL, 
	CONSTRAINT uq_reports_id UNIQUE (id)
);
INSERT INTO "reports" VALUES(1,'report_0fce996540035086c59f2e40','screening','acme','ftjob-c7a456410a9294e3346ac774',1800000000.0,'{"flagged":0}');
CREATE TABLE retired_releases (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	location TEXT NOT NULL, 
	weights_digest VARCHAR(64) NOT NULL, 
	retired_at FLOAT NOT NULL
);
CREATE TABLE tenants (
	id VARCHAR(64) NOT NULL, 
	created_at FLOAT NOT NULL, 
	files BIGINT NOT NULL, 
	bytes BIGINT NOT NULL, 
	waiting BIGINT NOT NULL, 
	active BIGINT NOT NULL, 
	most_active BIGINT NOT NULL, 
	weight FLOAT NOT NULL, 
	turn FLOAT NOT NULL, 
	served FLOAT NOT NULL, 
	ready BOOLEAN NOT NULL, 
	CONSTRAINT pk_tenants PRIMARY KEY (id)
);
INSERT INTO "tenants" VALUES('acme',1800000000.0,3,30,1,0,2,1.0,2.0,1.0,1);
CREATE TABLE upload_parts (
	id VARCHAR(64) NOT NULL, 
	upload_id VARCHAR(64) NOT NULL, 
	bytes BIGINT NOT NULL, 
	blob VARCHAR(128) NOT NULL, 
	created_at FLOAT NOT NULL, 
	CONSTRAINT pk_upload_parts PRIMARY KEY (id), 
	CONSTRAINT fk_upload_parts_upload_id FOREIGN KEY(upload_id) REFERENCES uploads (id)
);
CREATE TABLE uploads (
	id VARCHAR(64) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	purpose VARCHAR(64) NOT NULL, 
	filename VARCHAR(512) NOT NULL, 
	bytes BIGINT NOT NULL, 
	mime_type VARCHAR(256) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	created_at FLOAT NOT NULL, 
	expires_at FLOAT NOT NULL, 
	file_expires_after INTEGER, 
	file_id VARCHAR(64), 
	CONSTRAINT pk_uploads PRIMARY KEY (id)
);
CREATE TABLE webhook_endpoints (
	id VARCHAR(64) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	url TEXT NOT NULL, 
	events TEXT NOT NULL, 
	sealed_secret BLOB NOT NULL, 
	enabled BOOLEAN NOT NULL, 
	created_at FLOAT NOT NULL, 
	CONSTRAINT pk_webhook_endpoints PRIMARY KEY (id)
);
INSERT INTO "webhook_endpoints" VALUES('whe_e9dd3bc380834ce3ea912f8b','acme','https://example.org/hook','[]',X'7365616C6564',1,1800000000.0);
CREATE INDEX ix_api_keys_tenant ON api_keys (tenant);
CREATE INDEX ix_files_expires_at ON files (expires_at);
CREATE INDEX ix_files_tenant_seq ON files (tenant, seq);
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);
CREATE INDEX ix_jobs_finished_at ON jobs (finished_at);
CREATE INDEX ix_jobs_lease_until ON jobs (lease_until);
CREATE INDEX ix_jobs_tenant_body_digest ON jobs (tenant, body_digest);
CREATE INDEX ix_jobs_tenant_seq ON jobs (tenant, seq);
CREATE INDEX ix_jobs_tenant_waiting_seq ON jobs (tenant, waiting, seq);
CREATE INDEX ix_jobs_training_file ON jobs (training_file);
CREATE INDEX ix_jobs_validation_file ON jobs (validation_file);
CREATE INDEX ix_models_tenant_seq ON models (tenant, seq);
CREATE INDEX ix_outbox_done_at ON outbox (done_at);
CREATE INDEX ix_outbox_due_at ON outbox (due_at);
CREATE INDEX ix_reports_created_at ON reports (created_at);
CREATE INDEX ix_reports_kind_seq ON reports (kind, seq);
CREATE INDEX ix_reports_subject ON reports (subject);
CREATE INDEX ix_tenants_ready_turn ON tenants (ready, turn, id);
CREATE INDEX ix_tenants_served ON tenants (served);
CREATE INDEX ix_uploads_status_expires_at ON uploads (status, expires_at);
CREATE INDEX ix_uploads_tenant ON uploads (tenant);
CREATE INDEX ix_webhook_endpoints_tenant ON webhook_endpoints (tenant);
CREATE UNIQUE INDEX uq_checkpoints_job_id_step ON checkpoints (job_id, step);
CREATE INDEX ix_job_events_job_id_seq ON job_events (job_id, seq);
CREATE INDEX ix_upload_parts_upload_id ON upload_parts (upload_id);
CREATE TRIGGER audit_log_no_UPDATE BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_no_DELETE BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE INDEX ix_retired_releases_retired_at ON retired_releases (retired_at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('files',3);
INSERT INTO "sqlite_sequence" VALUES('jobs',3);
INSERT INTO "sqlite_sequence" VALUES('job_events',11);
INSERT INTO "sqlite_sequence" VALUES('checkpoints',1);
INSERT INTO "sqlite_sequence" VALUES('models',1);
INSERT INTO "sqlite_sequence" VALUES('outbox',1);
INSERT INTO "sqlite_sequence" VALUES('reports',1);
COMMIT;
