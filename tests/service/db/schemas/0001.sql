BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
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
INSERT INTO "api_keys" VALUES('keyKkQnhB857i3p','acme','tenant','97f2db6cd19032cd89011bf16896fd9128406a248abf7e9d6de8d754e012bff7','',1800000000.0,NULL,NULL);
CREATE TABLE audit_head (
	id INTEGER NOT NULL, 
	number BIGINT NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	seal VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit_head PRIMARY KEY (id)
);
INSERT INTO "audit_head" VALUES(1,11,'f67ef8f5f30e4dbc8c4a615fb5f01782cd08c939a4bdccc99653a1953a34619b','2c5b2372a851481574786d5bf1e2a22099b37d67e6446013fc9938af76401974');
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
INSERT INTO "audit_log" VALUES(1,1800000000.0,'cli','key.created','acme','keyKkQnhB857i3p','{"expires_at":null,"scope":"tenant"}','0000000000000000000000000000000000000000000000000000000000000000','53b110fe690cc2d4ea11213d0347926091dbac5c75d2a3bb7d1e9b9d89884820');
INSERT INTO "audit_log" VALUES(2,1800000000.0,'key-acme','webhook.created','acme','whe_7d959f9fd9f912c8a685c4e4','{}','53b110fe690cc2d4ea11213d0347926091dbac5c75d2a3bb7d1e9b9d89884820','523707ce34a94f0acb13ef98a507ff78a2a82a9dfab1d453dd2eabd9ace14fd4');
INSERT INTO "audit_log" VALUES(3,1800000000.0,'key-acme','file.created','acme','file-f71759d6c7bf4f1f0eb7870b','{"bytes":10,"purpose":"fine-tune","sha256":"abababababababababababababababababababababababababababababababab"}','523707ce34a94f0acb13ef98a507ff78a2a82a9dfab1d453dd2eabd9ace14fd4','feb06a1d0676b647e5edab5df0007f49b5189bbaf5ffa336c19fc10d5bbf1aab');
INSERT INTO "audit_log" VALUES(4,1800000000.0,'key-acme','job.created','acme','ftjob-83226a009d68de93ae1eef3c','{"model":"smollm2-135m","replaces":null,"training_file":"file-f71759d6c7bf4f1f0eb7870b"}','feb06a1d0676b647e5edab5df0007f49b5189bbaf5ffa336c19fc10d5bbf1aab','883107f4a5379d56c9299da214ec2553554fa985ff51cdcdc08e5dab52af9bac');
INSERT INTO "audit_log" VALUES(5,1800000000.0,'key-acme','file.created','acme','file-8fd31ebd738375e7e88e6aa4','{"bytes":10,"purpose":"fine-tune","sha256":"abababababababababababababababababababababababababababababababab"}','883107f4a5379d56c9299da214ec2553554fa985ff51cdcdc08e5dab52af9bac','a587645c58a1f9e759ccd261cb8761222d0fa4755a10ce717e24edcf7dd0694a');
INSERT INTO "audit_log" VALUES(6,1800000000.0,'key-acme','job.created','acme','ftjob-5ce09ee39975d73779d01a51','{"model":"smollm2-135m","replaces":null,"training_file":"file-8fd31ebd738375e7e88e6aa4"}','a587645c58a1f9e759ccd261cb8761222d0fa4755a10ce717e24edcf7dd0694a','9c69fd450c86e5f52143dc4058523980e0544141a0b818524df0b2a8b2104ac4');
INSERT INTO "audit_log" VALUES(7,1800000000.0,'w','job.succeeded','acme','ftjob-83226a009d68de93ae1eef3c','{"error":null,"model":"ft:smollm2-135m:acme::ftjob-83226a009d68de93ae1eef3c"}','9c69fd450c86e5f52143dc4058523980e0544141a0b818524df0b2a8b2104ac4','ab0275885714764749201340b096574cf0f75a76df0db242a44ceadbcc541154');
INSERT INTO "audit_log" VALUES(8,1800000000.0,'key-acme','job.pause','acme','ftjob-5ce09ee39975d73779d01a51','{}','ab0275885714764749201340b096574cf0f75a76df0db242a44ceadbcc541154','5c37a9be6101ec9fa05ee0f9cbe2bec02123bc02d76fbca324f9278e1c5c48a9');
INSERT INTO "audit_log" VALUES(9,1800000000.0,'w','job.paused','acme','ftjob-5ce09ee39975d73779d01a51','{"error":null,"model":null}','5c37a9be6101ec9fa05ee0f9cbe2bec02123bc02d76fbca324f9278e1c5c48a9','f90aa843b3f9f0a13140994e76efa1acc47356f9e7e62d0f0aeaaebe3c480514');
INSERT INTO "audit_log" VALUES(10,1800000000.0,'key-acme','file.created','acme','file-2535d9de167b35a7b9d23fa2','{"bytes":10,"purpose":"fine-tune","sha256":"abababababababababababababababababababababababababababababababab"}','f90aa843b3f9f0a13140994e76efa1acc47356f9e7e62d0f0aeaaebe3c480514','2128cb4ac53bdd170393cd6075b2bfd7eaf7761084f0e0408f91154290546ddb');
INSERT INTO "audit_log" VALUES(11,1800000000.0,'key-acme','job.created','acme','ftjob-e5e52f0c2c68b20ad4baeab4','{"model":"smollm2-135m","replaces":null,"training_file":"file-2535d9de167b35a7b9d23fa2"}','2128cb4ac53bdd170393cd6075b2bfd7eaf7761084f0e0408f91154290546ddb','f67ef8f5f30e4dbc8c4a615fb5f01782cd08c939a4bdccc99653a1953a34619b');
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
INSERT INTO "checkpoints" VALUES(1,'ftckpt_d111ed7f62edb4d5ee983b0c','ftjob-83226a009d68de93ae1eef3c','acme',1800000000.0,1,'{"train_loss":1.5}',NULL);
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
INSERT INTO "files" VALUES(1,'file-f71759d6c7bf4f1f0eb7870b','acme','fine-tune','rows.jsonl',10,'abababababababababababababababababababababababababababababababab','abababababababababababababababababababababababababababababababab.0123456789abcdef','processed',NULL,1800000000.0,NULL);
INSERT INTO "files" VALUES(2,'file-8fd31ebd738375e7e88e6aa4','acme','fine-tune','rows.jsonl',10,'abababababababababababababababababababababababababababababababab','abababababababababababababababababababababababababababababababab.0123456789abcdef','processed',NULL,1800000000.0,NULL);
INSERT INTO "files" VALUES(3,'file-2535d9de167b35a7b9d23fa2','acme','fine-tune','rows.jsonl',10,'abababababababababababababababababababababababababababababababab','abababababababababababababababababababababababababababababababab.0123456789abcdef','processed',NULL,1800000000.0,NULL);
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
INSERT INTO "job_events" VALUES(1,'ftevent-4966ae0b2e581502955f6d60','ftjob-83226a009d68de93ae1eef3c','acme',1800000000.0,'Created fine-tuning job: ftjob-83226a009d68de93ae1eef3c','info','message',NULL,0);
INSERT INTO "job_events" VALUES(2,'ftevent-dd602074915dc71d4e31af3e','ftjob-83226a009d68de93ae1eef3c','acme',1800000000.0,'Validating training file: file-f71759d6c7bf4f1f0eb7870b','info','message',NULL,0);
INSERT INTO "job_events" VALUES(3,'ftevent-44ee1bd0ff92b3c4b94530c0','ftjob-5ce09ee39975d73779d01a51','acme',1800000000.0,'Created fine-tuning job: ftjob-5ce09ee39975d73779d01a51','info','message',NULL,0);
INSERT INTO "job_events" VALUES(4,'ftevent-5bbf1837dfa0608f34ed2198','ftjob-5ce09ee39975d73779d01a51','acme',1800000000.0,'Validating training file: file-8fd31ebd738375e7e88e6aa4','info','message',NULL,0);
INSERT INTO "job_events" VALUES(5,'ftevent-6f05972ee73d5bd1f7151418','ftjob-83226a009d68de93ae1eef3c','acme',1800000000.0,'step 1','info','metrics','{"loss":1.5}',0);
INSERT INTO "job_events" VALUES(6,'ftevent-6e992059085e78f8d156b1c6','ftjob-83226a009d68de93ae1eef3c','acme',1800000000.0,'New fine-tuned model created: ft:smollm2-135m:acme::ftjob-83226a009d68de93ae1eef3c','info','message',NULL,0);
INSERT INTO "job_events" VALUES(7,'ftevent-d2ce56e8f97f08008b4d838a','ftjob-83226a009d68de93ae1eef3c','acme',1800000000.0,'The job has successfully completed','info','message',NULL,0);
INSERT INTO "job_events" VALUES(8,'ftevent-c6b4fd28d9c7d0acfce6049d','ftjob-5ce09ee39975d73779d01a51','acme',1800000000.0,'Pausing the fine-tuning job','info','message',NULL,0);
INSERT INTO "job_events" VALUES(9,'ftevent-b8087dcd4adaa713dcbfbc10','ftjob-5ce09ee39975d73779d01a51','acme',1800000000.0,'Fine-tuning job paused','info','message',NULL,0);
INSERT INTO "job_events" VALUES(10,'ftevent-87dec64fd06396a9252604f4','ftjob-e5e52f0c2c68b20ad4baeab4','acme',1800000000.0,'Created fine-tuning job: ftjob-e5e52f0c2c68b20ad4baeab4','info','message',NULL,0);
INSERT INTO "job_events" VALUES(11,'ftevent-5793a420233e217d60ff5b34','ftjob-e5e52f0c2c68b20ad4baeab4','acme',1800000000.0,'Validating training file: file-2535d9de167b35a7b9d23fa2','info','message',NULL,0);
CREATE TABLE job_metadata (
	job_id VARCHAR(64) NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	value VARCHAR(512) NOT NULL, 
	CONSTRAINT pk_job_metadata PRIMARY KEY (job_id, "key"), 
	CONSTRAINT fk_job_metadata_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "job_metadata" VALUES('ftjob-83226a009d68de93ae1eef3c','run','1');
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
INSERT INTO "jobs" VALUES(1,'ftjob-83226a009d68de93ae1eef3c','acme','key-acme','0000000000000000000000000000000000000000000000000000000000000000','succeeded',NULL,'smollm2-135m','file-f71759d6c7bf4f1f0eb7870b',NULL,NULL,918168846,'{"batch_size":"auto","learning_rate_multiplier":"auto","n_epochs":"auto"}','{"run":"1"}',1800000000.0,1800000000.0,1800000000.0,NULL,'ft:smollm2-135m:acme::ftjob-83226a009d68de93ae1eef3c','[]',100,NULL,NULL,NULL,NULL,2,0,0);
INSERT INTO "jobs" VALUES(2,'ftjob-5ce09ee39975d73779d01a51','acme','key-acme','0000000000000000000000000000000000000000000000000000000000000001','paused',NULL,'smollm2-135m','file-8fd31ebd738375e7e88e6aa4',NULL,NULL,748237127,'{"batch_size":"auto","learning_rate_multiplier":"auto","n_epochs":"auto"}','{}',1800000000.0,1800000000.0,NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,2,0,0);
INSERT INTO "jobs" VALUES(3,'ftjob-e5e52f0c2c68b20ad4baeab4','acme','key-acme','0000000000000000000000000000000000000000000000000000000000000002','validating_files',NULL,'smollm2-135m','file-2535d9de167b35a7b9d23fa2',NULL,NULL,967293338,'{"batch_size":"auto","learning_rate_multiplier":"auto","n_epochs":"auto"}','{}',1800000000.0,NULL,NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,0,0,1);
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
INSERT INTO "models" VALUES(1,'ft:smollm2-135m:acme::ftjob-83226a009d68de93ae1eef3c','acme','smollm2-135m','ftjob-83226a009d68de93ae1eef3c','releases/ftjob-83226a009d68de93ae1eef3c','abababababababababababababababababababababababababababababababab',1,'ready',1800000000.0);
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
INSERT INTO "outbox" VALUES(1,'whd_f2d42e681f8faad70ec6a4e4','evt_4df3427dc3d50ed89c8b25f0','acme','whe_7d959f9fd9f912c8a685c4e4','fine_tuning.job.succeeded','{"created_at":1800000000,"data":{"id":"ftjob-83226a009d68de93ae1eef3c"},"id":"evt_4df3427dc3d50ed89c8b25f0","object":"event","type":"fine_tuning.job.succeeded"}',1800000000.0,0,1800000000.0,NULL,NULL);
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
INSERT INTO "reports" VALUES(1,'report_57b14fb683c1fd3474db1da9','screening','acme','ftjob-83226a009d68de93ae1eef3c',1800000000.0,'{"flagged":0}');
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
INSERT INTO "webhook_endpoints" VALUES('whe_7d959f9fd9f912c8a685c4e4','acme','https://example.org/hook','[]',X'7365616C6564',1,1800000000.0);
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('files',3);
INSERT INTO "sqlite_sequence" VALUES('jobs',3);
INSERT INTO "sqlite_sequence" VALUES('job_events',11);
INSERT INTO "sqlite_sequence" VALUES('checkpoints',1);
INSERT INTO "sqlite_sequence" VALUES('models',1);
INSERT INTO "sqlite_sequence" VALUES('outbox',1);
INSERT INTO "sqlite_sequence" VALUES('reports',1);
COMMIT;
